"""Evidence: used again where it holds, never where the model has changed beside its weights."""

from pathlib import Path

import pytest
import world

from hf_unlearn.audit import EvidenceStore, measure_fade


PROMPTS = [[1, 5], [1, 6], [1, 7, 8]]


def _fade(candidate, store: EvidenceStore | None) -> float:
    found = measure_fade(
        prompts=PROMPTS, candidate=candidate, reference=world.build("llama", seed=1), num_samples=2, max_new_tokens=6,
        progress=False, store=store,
    )  # fmt: skip
    return found.estimate.fade


def _halve_scaling(model):
    for module in model.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling["default"] /= 2


def _disable(model):
    model.base_model.disable_adapter_layers()


def _epsilon(model):
    model.get_base_model().model.norm.variance_epsilon = 100.0


def _hook(model):
    model.get_base_model().model.norm.register_forward_hook(lambda module, arguments, output: output * 0.1)


@pytest.mark.parametrize("edit", [_halve_scaling, _disable, _epsilon, _hook], ids=lambda edit: edit.__name__)
def test_after_an_edit_beside_the_weights_nothing_old_is_used(edit, tmp_path: Path):
    model = world.with_lora(world.build("llama"), "llama")
    before = _fade(model, EvidenceStore(tmp_path))
    assert _fade(model, EvidenceStore(tmp_path)) == before
    edit(model)
    expected = _fade(model, None)
    assert abs(expected - before) > 0.5
    assert _fade(model, EvidenceStore(tmp_path)) == expected
