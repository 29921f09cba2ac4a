"""What moves a model's answers changes its fingerprint, wherever in the program it was done; and asking leaves no trace."""

import functools
import random
import types

import numpy as np
import pytest
import torch
import world
from accelerate.hooks import ModelHook, add_hook_to_module
from peft import PrefixTuningConfig, get_peft_model
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BigBirdConfig,
    BigBirdForCausalLM,
    PreTrainedModel,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaMLP

from hf_unlearn.inference import model_fingerprint, sample_completions, undisturbed
from hf_unlearn.inference._probe import probe


FACTOR = 1.0
OUTSIDE = types.ModuleType("settings_of_somebody")
PLAIN_FORWARD = LlamaMLP.forward


class Steering(torch.nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor

    def hook(self, module, arguments, output):
        return self(output)


class Scaling(ModelHook):
    factor = 1.0

    def post_forward(self, module, output):
        return output * self.factor


class Own(LlamaForCausalLM):
    TABLE = {"factor": 1.0}  # noqa: RUF012
    named = {"a": 1.0, "b": 3.0}  # noqa: RUF012
    revision = "a"

    def forward(self, *args, scale=1.0, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * self.TABLE["factor"] * scale * self.named[self.revision]
        return output


def _mlp(model):
    return model.model.layers[0].mlp


def _attention(factor):
    def attend(module, query, key, value, mask, **options):
        return factor * sdpa_attention_forward(module, query, key, value, mask, **options)[0], None

    return attend


def _switched_attention(model, patch):
    return lambda: model.set_attn_implementation("eager_by_another_name")


def _replaced_attention(model, patch):
    model.set_attn_implementation("eager_by_another_name")
    return lambda: AttentionInterface.register("eager_by_another_name", _attention(0.5))


def _method_of_a_module_outside(model, patch):
    steering = Steering()
    _mlp(model).register_forward_hook(steering.hook)
    return functools.partial(setattr, steering, "factor", 3.0)


def _closure_over_a_module_outside(model, patch):
    steering = Steering()
    _mlp(model).register_forward_hook(lambda module, arguments, output: steering(output))
    return functools.partial(setattr, steering, "factor", 3.0)


def _hook_of_accelerate(model, patch):
    add_hook_to_module(_mlp(model), Scaling())
    return functools.partial(setattr, _mlp(model)._hf_hook, "factor", 3.0)


def _module_deep_in_attributes(model, patch):
    steering = Steering()
    _mlp(model).extra = {"a": {"b": {"c": [{"d": steering}]}}}
    _mlp(model).register_forward_hook(lambda module, arguments, output: module.extra["a"]["b"]["c"][0]["d"](output))
    return functools.partial(setattr, steering, "factor", 3.0)


def _global_in_a_comprehension(model, patch):
    _mlp(model).register_forward_hook(lambda module, arguments, output: sum(part * FACTOR for part in [output]))
    return lambda: patch.setitem(globals(), "FACTOR", 3.0)


def _attribute_of_an_imported_module(model, patch):
    patch.setattr(OUTSIDE, "factor", 1.0, raising=False)
    _mlp(model).register_forward_hook(lambda module, arguments, output: output * OUTSIDE.factor)
    return lambda: patch.setattr(OUTSIDE, "factor", 3.0)


def _class_patched_by_closure(model, patch):
    def scaled(factor):
        patch.setattr(LlamaMLP, "forward", lambda self, x: PLAIN_FORWARD(self, x) * factor)

    scaled(1.0)
    return functools.partial(scaled, 3.0)


def _class_patched_by_default(model, patch):
    def scaled(factor):
        patch.setattr(LlamaMLP, "forward", lambda self, x, by=factor: PLAIN_FORWARD(self, x) * by)

    scaled(1.0)
    return functools.partial(scaled, 3.0)


def _call_of_a_class(model, patch):
    scaled = lambda self, x: PLAIN_FORWARD(self, x) * 3  # noqa: E731
    return lambda: patch.setattr(LlamaMLP, "__call__", scaled)


def _table_of_ones_own_class(model, patch):
    model.__class__ = Own
    return lambda: patch.setattr(Own, "TABLE", {"factor": 3.0})


def _keyword_default_of_ones_own_class(model, patch):
    model.__class__ = Own
    return lambda: patch.setitem(Own.forward.__kwdefaults__, "scale", 3.0)


def _attribute_with_a_name_that_is_passed_over(model, patch):
    model.__class__ = Own
    model.revision = "a"
    return lambda: setattr(model, "revision", "b")


FAMILIES = [
    _switched_attention, _replaced_attention, _method_of_a_module_outside, _closure_over_a_module_outside, _hook_of_accelerate,
    _module_deep_in_attributes, _global_in_a_comprehension, _attribute_of_an_imported_module, _class_patched_by_closure,
    _class_patched_by_default, _call_of_a_class, _table_of_ones_own_class, _keyword_default_of_ones_own_class,
    _attribute_with_a_name_that_is_passed_over,
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.strip("_"))
def test_whatever_moves_the_answers_changes_the_fingerprint(family, monkeypatch: pytest.MonkeyPatch):
    AttentionInterface.register("eager_by_another_name", _attention(1.0))
    AttentionMaskInterface.register("eager_by_another_name", sdpa_mask)
    model = world.build("llama")
    change = family(model, monkeypatch)
    before = model_fingerprint(model)
    assert model_fingerprint(model) == before
    change()
    assert model_fingerprint(model) != before


def _seen(name: str, moved: float) -> bool:
    model = world.build(name)
    before = probe(model)
    head = model.get_output_embeddings() or model.classifier
    head.register_forward_hook(lambda module, arguments, output: output + output.flip(-1) * moved)
    assert before is not None
    return probe(model) != before


@pytest.mark.parametrize("name", world.names())
def test_a_small_change_is_seen(name: str):
    """On every architecture: texts to tokens or classes, and images."""
    assert _seen(name, 0.01)


def test_rounding_is_not_seen():
    """Where a value lies at the edge of a step it may be: rarely, and then something is computed anew."""
    seen = [_seen(name, 3e-7) for name in world.names("causal_lm")]
    assert sum(seen) <= 2


@pytest.mark.parametrize("name", world.names())
def test_asking_leaves_no_trace(name: str):
    """Modes, weights (RWKV rescales its own), attributes and random states, in training as in eval mode."""
    overrides = {"rescale_every": 1} if name == "rwkv" else {}
    for mode in (True, False):
        model = world.build(name, **overrides).train(mode)
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        probe(model)
        assert all(module.training == mode for module in model.modules())
        assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


def test_adapters_and_virtual_tokens_answer_too():
    found = [world.build("llama"), world.with_lora(world.build("llama"), "llama")]
    found.append(world.with_prompt_tuning(world.build("llama")))
    with found[2].disable_adapter():
        assert probe(found[2]) == probe(found[0])
    answers = [probe(model) for model in found]
    assert None not in answers and len(set(answers)) == len(answers)


def test_a_noisy_model_answers_alike_twice():
    model = world.build("llama")
    model.lm_head.register_forward_hook(lambda module, arguments, output: output + torch.randn_like(output))
    assert probe(model) == probe(model) is not None


def test_masked_logits_do_not_hide_the_others():
    model, factor = world.build("llama"), [1.0]

    def mask(module, arguments, output):
        masked = output * factor[0]
        masked[..., 5] = torch.finfo(output.dtype).min
        return masked

    model.lm_head.register_forward_hook(mask)
    before = probe(model)
    factor[0] = 1.01
    assert probe(model) != before


def test_a_model_that_does_not_run_is_trusted_only_as_it_was_built():
    def broken(module, arguments):
        raise RuntimeError("only with my own batches")

    model = world.build("llama")
    del model.lm_head.weight
    model.lm_head.weight = None
    assert probe(model) is None
    assert model_fingerprint(model) == model_fingerprint(model)
    model.register_forward_pre_hook(broken)
    assert model_fingerprint(model) != model_fingerprint(model)


def _prefix_tuned():
    return get_peft_model(world.build("llama"), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)).eval()


def _small(kind, config):
    torch.manual_seed(0)
    return kind(config).eval()


_TOKENS = {"vocab_size": world.VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LEFT_BEHIND = {
    "virtual tokens": lambda: world.with_prompt_tuning(world.build("llama")),
    "prefix": _prefix_tuned,
    "recurrent_gemma": lambda: _small(
        RecurrentGemmaForCausalLM,
        RecurrentGemmaConfig(
            hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, lru_width=32, **_TOKENS
        ),
    ),
    "big_bird": lambda: _small(
        BigBirdForCausalLM,
        BigBirdConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=48,
            is_decoder=True,
            **_TOKENS,
        ),
    ),
}


@pytest.mark.parametrize("make", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_a_pass_of_this_library_leaves_the_fingerprint_and_the_model(make):
    def attributes(model):
        plain = (str, bool, int, float, torch.Tensor, types.MethodType, type(None))
        return {
            (name, key): str(value)
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if isinstance(value, plain) and key != "_is_full_backward_hook"
        }

    model = make()
    before, seen = model_fingerprint(model), attributes(model)
    sample_completions(model, [[1, 3], [1, 4, 5]], num_samples=2, max_new_tokens=2, progress=False)
    with undisturbed(model):
        model(input_ids=torch.tensor([[1, 3, 4]]))
    assert attributes(model) == seen
    assert model_fingerprint(model) == before


def test_an_end_token_that_also_pads_is_not_warned_of_where_nothing_is_padded(monkeypatch):
    """`generate` drops a mask of ones, and then GPT-2 takes an end token at either edge for padding."""
    unmasked = []
    monkeypatch.setattr(
        PreTrainedModel,
        "warn_if_padding_and_no_attention_mask",
        lambda model, ids, mask: unmasked.append(ids) if mask is None else None,
    )
    model = world.build("gpt2", bos_token_id=2, pad_token_id=2)
    before = model_fingerprint(model)
    sample_completions(model, [[2, 3, 4], [2, 5, 6]], num_samples=2, max_new_tokens=3, progress=False)
    with undisturbed(model), undisturbed(model):
        model(input_ids=torch.tensor([[2, 3]]))
    with undisturbed(model):
        assert model_fingerprint(model) == before
    assert not unmasked
    model(input_ids=torch.tensor([[2, 3]]))
    assert len(unmasked) == 1, "whoever leaves a mask out himself is told"


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (np.array(["a", "b"]), np.array(["a", "c"])),
        (np.array([None, "b"], dtype=object), np.array([None, 3], dtype=object)),
        (np.arange(3), np.arange(3.0)),
        (torch.eye(3).to_sparse(), torch.eye(4).to_sparse()),
        (torch.eye(3).to_sparse_csr(), 2 * torch.eye(3).to_sparse_csr()),
    ],
    ids=["text", "objects", "numbers", "sparse", "rows"],
)
def test_arrays_and_sparse_tensors_are_described(value, other):
    found = []
    for attribute in (value, value, other):
        model = world.build("llama")
        model.noted = attribute
        found.append(model_fingerprint(model))
    assert found[0] == found[1] != found[2]


def test_what_has_no_bytes_makes_a_model_unlike_any_other():
    model = world.build("llama")
    model.noted = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert model_fingerprint(model) != model_fingerprint(model)
