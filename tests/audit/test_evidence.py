"""Evidence: used again where it holds, never where the model has changed; damage and full disks cost time, not the audit."""

import logging
from pathlib import Path

import numpy as np
import pytest
import world
from safetensors import SafetensorError

from hf_unlearn.audit import EvidenceStore, measure_fade
from hf_unlearn.audit import _evidence as evidence_module
from hf_unlearn.inference._rows import answer_rows


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


def _rows():
    columns = {"model": ["m"], "example_index": [0], "num_tokens": [3], "log_prob": [-1.5]}
    return answer_rows(columns)


@pytest.mark.parametrize("damage", [b"", b"PAR1 and then nothing"])
def test_a_damaged_file_is_computed_again(damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = EvidenceStore(tmp_path)
    store.rows("answers", "key", _rows)
    store.arrays("features", "key", lambda: {"1": np.ones(3)})
    for path in tmp_path.iterdir():
        path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert store.rows("answers", "key", _rows).table == _rows().table
        assert store.arrays("features", "key", lambda: {"1": np.zeros(3)})["1"].tolist() == [0, 0, 0]
    assert caplog.text.count("is damaged and is computed again") == 2

    def never():
        raise AssertionError("computed again although it was repaired")

    assert store.rows("answers", "key", never).table == _rows().table
    assert store.arrays("features", "key", never)["1"].tolist() == [0, 0, 0]


def test_a_disk_that_fills_up_costs_the_resumption_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """What safetensors raises on a full disk is no OSError."""

    def full(arrays, path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    assert not issubclass(SafetensorError, OSError)
    monkeypatch.setattr(evidence_module, "save_file", full)
    with caplog.at_level(logging.WARNING):
        found = EvidenceStore(tmp_path).arrays("features", "key", lambda: {"1": np.ones(2)})
    assert found["1"].tolist() == [1, 1]
    assert "cannot resume from here" in caplog.text and not list(tmp_path.iterdir())
