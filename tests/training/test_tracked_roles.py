"""What the tracker compares with, where it shares weights with the model in training."""

from pathlib import Path

import pytest
import world
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from runs import arguments
from transformers import Trainer

from hf_unlearn.data import AnswerCollator
from hf_unlearn.training import ForgettingTracker


EXAMPLES = [{"input_ids": [1, 4, at, 6, 7], "labels": [-100, -100, -100, 6, 7]} for at in range(3, 9)]


def watching(folder: Path, candidate, **models) -> ForgettingTracker:
    rows = Dataset.from_list(EXAMPLES)
    trainer = Trainer(candidate, arguments(folder), train_dataset=rows, data_collator=AnswerCollator(0))
    return ForgettingTracker(trainer, forget_dataset=rows, max_new_tokens=4, batch_size=8, **models)


def fade(tracker: ForgettingTracker) -> tuple[float, float | None]:
    """Of the candidate, and of the original."""
    value = tracker.measure()["fade"]
    return value, tracker._metrics.results["fade"].start


def test_the_base_of_the_adapter_in_training_is_the_original(tmp_path: Path):
    """An adapter that was trained before already answers otherwise when the tracker is made."""
    base, reference = world.build("llama"), world.build("llama", seed=1)
    candidate = world.with_lora(base, "llama")
    value, start = fade(watching(tmp_path, candidate, reference=reference, original=base))
    alone = fade(watching(tmp_path, candidate, reference=reference, original=world.build("llama")))
    assert (value, start) == pytest.approx(alone, rel=1e-4)
    assert abs(start - value) > 0.1
    value, start = fade(watching(tmp_path, candidate, reference=reference, original=candidate))
    assert start == pytest.approx(value, rel=1e-4)  # before training it still is the original


def test_another_adapter_of_the_same_name_is_refused(tmp_path: Path):
    base = world.build("llama")
    config = LoraConfig(r=2, target_modules=["q_proj"])
    first, second = get_peft_model(base, config), get_peft_model(base, config)
    with pytest.raises(ValueError, match=r"original and the Trainer's model share weights .* replaces the first"):
        watching(tmp_path, second, reference=world.build("llama", seed=1), original=first)
