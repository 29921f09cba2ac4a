"""One model, one fingerprint, wherever it was opened; and another one after anything that changes what it computes."""

import copy
import types
from pathlib import Path

import pytest
import torch
import world

from hf_unlearn.inference import load_model, model_fingerprint, weights_fingerprint


def _layer(model):
    return model.get_decoder().layers[0]


def _edit_config(model):
    model.config.some_new_switch = True


def _edit_epsilon(model):
    _layer(model).input_layernorm.variance_epsilon = 0.5


def _edit_rope(model):
    model.get_decoder().rotary_emb.inv_freq.mul_(0.5)


def _edit_activation(model):
    _layer(model).mlp.act_fn = torch.nn.Tanh()


def _edit_heads(model):
    _layer(model).self_attn.num_key_value_groups = 1


def _edit_scaling(model):
    _layer(model).self_attn.scaling = 2.0


def _hook(model):
    _layer(model).register_forward_hook(lambda module, arguments, output: output)


def _pre_hook(model):
    model.register_forward_pre_hook(lambda module, arguments: None)


def _own_forward(model):
    before = model.forward
    model.forward = types.MethodType(lambda self, *args, **named: before(*args, **named), model)


def _module_in_a_list(model):
    model.extra = [torch.nn.Linear(2, 2)]


EDITS = [
    _edit_config, _edit_epsilon, _edit_rope, _edit_activation, _edit_heads, _edit_scaling, _hook, _pre_hook, _own_forward,
    _module_in_a_list,
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
def test_an_edit_beside_the_weights_changes_the_fingerprint(edit):
    model = world.build("llama")
    weights, whole = weights_fingerprint(model), model_fingerprint(model)
    edit(model)
    assert weights_fingerprint(model) == weights
    assert model_fingerprint(model) != whole


def test_every_state_of_adapters_has_its_own_fingerprint():
    """Scaling, a second adapter, which of them is active, disabled, merged: the saved weights say nothing of the first four."""
    model = world.with_lora(world.build("llama"), "llama")
    model.add_adapter("other", model.peft_config["default"])
    seen = [model_fingerprint(model)]
    model.set_adapter("other")
    seen.append(model_fingerprint(model))
    model.set_adapter("default")
    assert model_fingerprint(model) == seen[0]
    with model.disable_adapter():
        seen.append(model_fingerprint(model))
    assert model_fingerprint(model) == seen[0]
    for module in model.modules():
        if hasattr(module, "scaling") and isinstance(module.scaling, dict):
            module.scaling["default"] *= 2
    seen.append(model_fingerprint(model))
    assert len(set(seen)) == len(seen)
    assert len({weights_fingerprint(model)}) == 1


def test_virtual_tokens_switched_off_are_another_model():
    model = world.with_prompt_tuning(world.build("llama"))
    before = model_fingerprint(model)
    with model.disable_adapter():
        assert model_fingerprint(model) != before


def test_code_of_ones_own_counts():
    """A forward that a class got later, and the same class with one line changed."""
    model = world.build("llama")
    whole, kind = model_fingerprint(model), type(_layer(model).mlp)
    before = kind.forward
    try:
        kind.forward = lambda self, x: before(self, x) * 2
        assert model_fingerprint(model) != whole
    finally:
        kind.forward = before
    assert model_fingerprint(model) == whole

    def scaled(factor):
        namespace = {}
        exec(  # two versions of one file
            "import torch\nclass Scaled(torch.nn.Module):\n"
            f"    def help(self, x): return x * {factor}\n    def forward(self, x): return self.help(x)\n",
            {"__name__": "their_code"},
            namespace,
        )
        return namespace["Scaled"]()

    found = []
    for factor in (2, 2, 3):
        _layer(model).extra = scaled(factor)
        found.append(model_fingerprint(model))
    assert found[0] == found[1] != found[2]


def test_a_hook_is_known_by_its_code_and_what_it_carries():
    model = world.build("llama")

    def hook_of(scale):
        return lambda module, arguments, output: output * scale

    found = []
    for scale in (2.0, 2.0, 3.0):
        handle = model.lm_head.register_forward_hook(hook_of(scale))
        found.append(model_fingerprint(model))
        handle.remove()
    assert found[0] == found[1] != found[2]
    model.lm_head.register_forward_hook(hook_of(iter([1.0])))  # nobody can say what that is
    assert model_fingerprint(model) != model_fingerprint(model)


@pytest.mark.parametrize("name", world.names())
def test_the_same_model_opened_again_has_the_same_fingerprint(name, tmp_path: Path):
    """Fresh, copied, saved and read back: resumption must not be lost for any architecture."""
    model = world.build(name)
    whole = model_fingerprint(model)
    assert model_fingerprint(copy.deepcopy(model)) == whole
    model.save_pretrained(tmp_path)
    assert model_fingerprint(type(model).from_pretrained(tmp_path)) == whole
    model.train()
    assert model_fingerprint(model) == whole


def test_the_same_adapter_opened_again_has_the_same_fingerprint(tmp_path: Path):
    world.build("llama").save_pretrained(tmp_path / "base")
    adapted = world.with_lora(load_model(tmp_path / "base"), "llama")
    adapted.save_pretrained(tmp_path / "adapter")
    assert model_fingerprint(load_model(tmp_path / "adapter")) == model_fingerprint(adapted)


@pytest.mark.parametrize("name", [name for name in world.names("causal_lm") if name != "rwkv"])
def test_looking_at_a_model_leaves_its_fingerprint(name):
    """Forward with all that it can show, and a step of generation. (RWKV rescales its weights when it is first run.)"""
    model = world.build(name)
    before = model_fingerprint(model)
    with torch.no_grad():
        model(torch.tensor([[1, 5, 6]]), output_hidden_states=True)
        model.generate(torch.tensor([[1, 5, 6]]), max_new_tokens=2, do_sample=False)
    assert model_fingerprint(model) == before
