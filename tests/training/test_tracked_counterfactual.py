"""Counterfactual FADE live: the original, which does not change, stands in for a reference at every measurement."""

from pathlib import Path

import pytest
import torch
import world
from datasets import Dataset
from runs import arguments
from transformers import Trainer

from hf_unlearn.data import AnswerCollator
from hf_unlearn.training import ForgettingTracker


EXAMPLES = [{"input_ids": [1, 4, at, 6, 7], "labels": [-100, -100, -100, 6, 7]} for at in range(3, 9)]
FORGET = [
    {**row, "counterfactual_question": [[1, 5 + k, 10 + at] for k in range(4)]} for at, row in enumerate(EXAMPLES)
]


def watching(folder: Path, candidate: torch.nn.Module, original: torch.nn.Module, **options) -> ForgettingTracker:
    rows = Dataset.from_list(EXAMPLES)
    trainer = Trainer(candidate, arguments(folder), train_dataset=rows, data_collator=AnswerCollator(0))
    settings = {"forget_dataset": Dataset.from_list(FORGET), "max_new_tokens": 4, "batch_size": 8, **options}
    return ForgettingTracker(trainer, original=original, **settings)


def test_the_value_starts_at_the_start_and_moves_with_the_model(tmp_path: Path):
    """The adapter's base is the original; another model in training gives what an audit of it would."""
    metrics = ["counterfactual_fade", "counterfactual_exposure", "counterfactual_residual_ratio"]
    base = world.build("llama")
    candidate = world.with_lora(base, "llama")
    tracker = watching(tmp_path, candidate, base, metrics=metrics)
    first = tracker.measure()["counterfactual_fade"]
    found = tracker._metrics.results["counterfactual_fade"]
    assert found.value == first and found.floor_of == "stand-in" and found.floor > 0
    assert abs(found.start - first) > 1e-3, "the adapter answers otherwise already"
    alone = watching(tmp_path, world.with_lora(world.build("llama"), "llama"), world.build("llama"), metrics=metrics)
    assert alone.measure()["counterfactual_fade"] == pytest.approx(first, rel=1e-4)
    with torch.no_grad():
        for name, weights in candidate.named_parameters():
            if "lora_" in name:
                weights.zero_()
    values = tracker.measure()
    assert values["counterfactual_fade"] == pytest.approx(found.start, rel=1e-4)
    assert values["counterfactual_residual_ratio"] == pytest.approx(1.0, abs=1e-4)


def test_an_original_that_is_being_trained_is_refused(tmp_path: Path):
    model = world.build("llama")
    with pytest.raises(ValueError, match="the original has the weights that are being trained"):
        watching(tmp_path, model, model, metrics=["counterfactual_fade"]).measure()
