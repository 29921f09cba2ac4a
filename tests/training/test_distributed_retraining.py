"""Several processes retrain as one does: the same model from the same rows per step, written once."""

import json
from pathlib import Path

import pytest
import torch
from launch import torchrun
from recipes import Recipe, people, saved_base, weights

from hf_unlearn import retrain


@pytest.mark.distributed
def test_two_processes_retrain_go_on_and_continue(tmp_path: Path):
    saved_base(tmp_path / "base")
    torchrun(Path(__file__).parent / "two_processes_retraining.py", str(tmp_path))
    made = retrain(Recipe(tmp_path / "base"), people(), without=people("Cai"), output_dir=tmp_path / "one", seeds=[0])
    one, two = weights(made.reference), weights(tmp_path / "two" / "seed-0")
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    notes = [json.loads((tmp_path / name / "seed-0" / "retraining.json").read_text()) for name in ("one", "two", "on")]
    assert [note["resumed_from"] for note in notes] == [None, "checkpoint-2", None]
    assert notes[0]["recipe"] == notes[1]["recipe"] and notes[2]["finished"]
