import json
from pathlib import Path

import pytest
import torch
from launch import torchrun
from runs import largest_difference
from two_processes_training import train

from hf_unlearn import OBJECTIVES


@pytest.mark.distributed
def test_two_processes_give_the_trajectory_of_one(tmp_path: Path):
    torchrun(Path(__file__).parent / "two_processes_training.py", str(tmp_path))
    for retain_term in ("nll", "kl"):
        train(tmp_path, f"one-{retain_term}", retain_term)
        one, two = (torch.load(tmp_path / f"{count}-{retain_term}.pt") for count in ("one", "two"))
        assert largest_difference(one, two) < 1e-5
        logs = [json.loads((tmp_path / f"{count}-{retain_term}.json").read_text()) for count in ("one", "two")]
        for mine, theirs in zip(*logs, strict=True):
            assert mine.keys() == theirs.keys() and ("forget_loss" in mine) == ("loss" in mine)
            for key in {"forget_loss", "retain_loss"} & mine.keys():
                assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-4)
    for objective in OBJECTIVES:
        retain_term = "hidden" if objective == "rmu" else "nll"
        train(tmp_path, f"one-{objective}", retain_term, objective=objective, max_steps=3)
        one, two = (torch.load(tmp_path / f"{count}-{objective}.pt") for count in ("one", "two"))
        assert largest_difference(one, two) < 2e-5, objective


@pytest.mark.distributed
def test_what_one_process_sees_ends_the_training_on_all(tmp_path: Path):
    """A loss that is not a number on process 1, and a collapse that only process 0 sees: nobody waits for ever."""
    torchrun(Path(__file__).parent / "two_processes_faults.py", str(tmp_path), timeout=150)
    faults = [(tmp_path / f"fault-{rank}.txt").read_text() for rank in (0, 1)]
    assert faults[1].startswith("1 forget_loss (on-one) became nan at step 2")
    assert faults[0].startswith("1 process 1: forget_loss (on-one) became nan at step 2")
    assert [(tmp_path / f"collapse-{rank}.txt").read_text() for rank in (0, 1)] == ["1", "1"]
