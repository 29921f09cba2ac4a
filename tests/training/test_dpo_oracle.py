"""DPO against somebody else's: TRL's DPOTrainer, from texts to the gradient of one step."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from runs import Gradients, arguments, largest_difference
from sft import tokenizer
from transformers import Trainer
from trl import DPOConfig, DPOTrainer
from world import build

from hf_unlearn import DPO, UnlearningCallback
from hf_unlearn.data import AnswerCollator


BETA = 0.3


def pairs(count: int) -> list[dict[str, str]]:
    """Answers of one to four words."""
    words = [f"w{index}" for index in range(90)]
    return [
        {
            "prompt": f"w{row} w{row + 30}",
            "chosen": " " + " ".join(words[row + 3 : row + 4 + row % 3]),
            "rejected": " " + " ".join(words[row + 40 : row + 41 + (row + 1) % 4]),
        }
        for row in range(count)
    ]


def moved(seed: int):
    """A model that is no longer the original."""
    model = build("llama", vocab_size=97)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def test_loss_and_gradient_are_those_of_trl(tmp_path: Path):
    """−(2/β) log σ(β(r_w − r_l)) is TRL's loss times 2/β, and so is its gradient."""
    rows, theirs, ours = pairs(8), Gradients(), Gradients()
    # TRL appends the end token as text; after a space it is a word of its own.
    spaced = [{**row, "chosen": row["chosen"] + " ", "rejected": row["rejected"] + " "} for row in rows]
    settings = arguments(tmp_path).to_dict()
    kept = ("output_dir", "learning_rate", "optim", "max_grad_norm", "logging_steps", "save_strategy", "use_cpu", "disable_tqdm", "per_device_train_batch_size")  # fmt: skip
    trl = DPOTrainer(
        model=moved(1),
        ref_model=build("llama", vocab_size=97),
        args=DPOConfig(
            **{name: settings[name] for name in kept},
            beta=BETA, max_steps=1, bf16=False, report_to="none", gradient_checkpointing=False, max_length=None,
        ),
        train_dataset=Dataset.from_list(spaced),
        processing_class=tokenizer(),
    )  # fmt: skip
    trl.add_callback(theirs)
    trl.train()

    model = build("llama", vocab_size=97)
    forget = [
        {"prompt": row["prompt"], "completion": row["rejected"], "alternative_answer": row["chosen"].strip()}
        for row in rows
    ]
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, max_steps=1),
        train_dataset=Dataset.from_list(
            [{"input_ids": [1, 5, 9 + row], "labels": [-100, 5, 9 + row]} for row in range(8)]
        ),
        data_collator=AnswerCollator(0),
        processing_class=tokenizer(),
    )
    options = {"objective": DPO(beta=BETA), "retain_weight": 0.0, "forget_batch_size": 8}
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=Dataset.from_list(forget), **options))
    trainer.add_callback(ours)
    model.load_state_dict(moved(1).state_dict())
    trainer.train()

    expected = trl.state.log_history[0]["loss"] * 2 / BETA
    assert abs(expected - 2 / BETA * torch.tensor(2.0).log()) > 0.02  # not where every DPO starts
    assert trainer.state.log_history[0]["forget_loss"] == pytest.approx(expected, rel=1e-4)
    scaled = {name: gradient * 2 / BETA for name, gradient in theirs.first.items()}
    scale = max(float(gradient.abs().max()) for gradient in scaled.values())
    assert largest_difference(ours.first, scaled) < 1e-4 * scale
