"""What the original said is kept for the same model, computing in the same way, and for no other."""

import math
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from runs import examples, trainer_with_callback
from toys import tiny_llama
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from hf_unlearn.inference import score
from hf_unlearn.training import _original_scores


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))


def adapted():
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    model = get_peft_model(tiny_llama(), config)
    model.add_adapter("other", config)
    return model.eval()


def scale_up(model):
    for module in model.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling["default"] = 8.0


def widen_epsilon(model):
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 0.5


def weak_attention(module, query, key, value, mask, **options):
    return 0.2 * sdpa_attention_forward(module, query, key, value, mask, **options)[0], None


AttentionInterface.register("weak", weak_attention)
AttentionMaskInterface.register("weak", sdpa_mask)


def hook(model):
    model.get_base_model().lm_head.register_forward_hook(lambda module, arguments, output: 2 * output)


EDITS = {
    "scaling": scale_up,
    "another adapter": lambda model: model.set_adapter("other"),
    "no adapter": lambda model: model.base_model.disable_adapter_layers(),
    "epsilon": widen_epsilon,
    "activation": lambda model: [
        setattr(module, "act_fn", torch.nn.Tanh()) for module in model.modules() if hasattr(module, "act_fn")
    ],
    "hook": hook,
    "attention": lambda model: model.get_base_model().set_attn_implementation("weak"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_another_way_to_compute_is_another_original(edit, tmp_path: Path):
    """The second callback finds what the first one has kept, and must not take it."""
    rows = examples(11, seed=2)
    found = []
    for change in (lambda model: None, edit):
        model = adapted()
        change(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)  # PEFT freezes an adapter that it switches off
        expected = score({"m": model}, rows.to_list(), progress=False).column("log_prob")
        _, callback = trainer_with_callback(tmp_path, model=model, forget=rows, options={"objective": "npo"})
        assert callback.loss.term._original_log_probs.tolist() == pytest.approx(list(expected), rel=1e-5)
        found.append(callback.loss.term._original_log_probs)
    assert not torch.allclose(*found, atol=1e-3)


def test_what_a_hook_reaches_outside_the_model_counts(tmp_path: Path):
    """NPO starts at (2/β) log 2, where model and original agree, with every strength of the steering."""
    steering = torch.nn.Linear(32, 32)
    first = []
    for strength in (0.0, 3.0):
        steering.strength = strength
        model = tiny_llama()
        model.lm_head.register_forward_pre_hook(
            lambda module, arguments: (arguments[0] + steering.strength * steering.bias.detach(),)
        )
        trainer, _ = trainer_with_callback(tmp_path, model=model, options={"objective": "npo"}, max_steps=1)
        trainer.train()
        first += [row["forget_loss"] for row in trainer.state.log_history if "forget_loss" in row]
    assert first == pytest.approx([2 / 0.1 * math.log(2)] * 2, rel=1e-4)


@pytest.mark.parametrize("settings", [{"bf16": True}, {"per_device_eval_batch_size": 3}])
def test_another_precision_or_batch_is_another_original(
    settings: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = []
    monkeypatch.setattr(_original_scores, "score", lambda *args, **kwargs: calls.append(1) or score(*args, **kwargs))
    for chosen in ({}, settings, {}, settings):
        trainer_with_callback(tmp_path, options={"objective": "npo"}, **chosen)
    assert len(calls) == 2


def test_a_cut_off_file_is_computed_anew(tmp_path: Path):
    _, first = trainer_with_callback(tmp_path, options={"objective": "npo"})
    kept = next((tmp_path / "cache" / "original").iterdir())
    kept.write_text(kept.read_text()[:20])
    _, second = trainer_with_callback(tmp_path, options={"objective": "npo"})
    assert torch.equal(first.loss.term._original_log_probs, second.loss.term._original_log_probs)
