"""Evidence: used again where it holds, never where the model has changed beside its weights."""

from pathlib import Path

import pytest
import world

from hf_unlearn.audit import EvidenceStore, measure_fade
from hf_unlearn.audit import _completion_reading as completion_reading
from hf_unlearn.inference import _rounds as rounds_module


PROMPTS = [[1, 5], [1, 6], [1, 7, 8]]


def _fade(candidate, store: EvidenceStore | None) -> float:
    found = measure_fade(
        prompts=PROMPTS, candidate=candidate, reference=world.build("llama", seed=1), num_samples=2, max_new_tokens=6,
        progress=False, store=store,
    )  # fmt: skip
    return found.estimate.fade


@pytest.mark.parametrize("stage", ["sample_tables", "score_tables"])
@pytest.mark.parametrize("breaks", [1, 2, 5])
def test_a_break_inside_sampling_or_scoring_costs_the_batch_under_way(
    stage: str, breaks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With real models, batch by batch: the rest is asked for, and the numbers are those of an unbroken run."""
    models = {"candidate": world.build("gpt2"), "reference": world.build("gpt2", seed=1)}
    options = {"prompts": PROMPTS, "num_samples": 2, "max_new_tokens": 6, "batch_size": 2, "progress": False}
    real, done, broken = getattr(completion_reading, stage), [], [breaks]

    def counted(*arguments, **given):
        for table in real(*arguments, **given):
            broken[0] -= 1
            if broken[0] == 0:
                raise KeyboardInterrupt
            done.extend((given["label"], given.get("sampled_from"), item) for item in table["item"].to_pylist())
            yield table

    monkeypatch.setattr(rounds_module, "ROUND", 1)
    monkeypatch.setattr(completion_reading, stage, counted)
    with pytest.raises(KeyboardInterrupt):
        measure_fade(**models, **options, store=EvidenceStore(tmp_path))
    resumed = measure_fade(**models, **options, store=EvidenceStore(tmp_path))
    assert len(done) == len(set(done)) == 2 * 2 * len(PROMPTS)
    monkeypatch.setattr(completion_reading, stage, real)
    unbroken = measure_fade(**models, **options)
    assert resumed.estimate.fade == pytest.approx(unbroken.estimate.fade, rel=1e-6)


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
