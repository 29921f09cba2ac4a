"""Run under torchrun by test_distributed_training.py: one training run, whose weights and logs the main process keeps."""

import json
import sys
from pathlib import Path

import torch
from launch import leave
from runs import examples, trainer_with_callback, weights
from toys import word_tokenizer

from hf_unlearn import OBJECTIVES


def train(folder: Path, name: str, retain_term: str, *, objective: str = "npo", **overrides) -> None:
    forget = examples(11, seed=2)
    forget = forget.add_column("alternative_answer", ["w7 w8 w9"] * len(forget))
    forget = forget.add_column("counterfactual_question", [["w5 w6", "w5 w7 w8"]] * len(forget))
    trainer, _ = trainer_with_callback(
        folder,
        forget=forget,
        options={
            "retain_term": retain_term,
            "objective": objective,
            "forget_batch_size": 8,
            "forget_weight": 1.0 if objective == "npo" else 0.05,
            "processing_class": word_tokenizer(*(f"w{index}" for index in range(95))),
        },
        **{"num_train_epochs": 2, **overrides},
    )
    trainer.train()
    if trainer.is_world_process_zero():
        torch.save(weights(trainer.accelerator.unwrap_model(trainer.model)), folder / f"{name}.pt")
        (folder / f"{name}.json").write_text(json.dumps(trainer.state.log_history))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for retain_term in ("nll", "kl"):
        train(folder, f"two-{retain_term}", retain_term, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    for objective in OBJECTIVES:
        retain_term = "hidden" if objective == "rmu" else "nll"
        train(
            folder,
            f"two-{objective}",
            retain_term,
            objective=objective,
            max_steps=3,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
        )
    # Fewer forget examples than micro-batches: nobody may wait for ever.
    trainer, _ = trainer_with_callback(
        folder, options={"forget_batch_size": 3}, per_device_train_batch_size=1, gradient_accumulation_steps=4
    )
    trainer.train()
    leave()
