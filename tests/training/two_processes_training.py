"""Run under torchrun by test_distributed_training.py: one training run, whose weights and logs the main process keeps."""

import json
import sys
from pathlib import Path

import torch
from launch import leave
from runs import trainer_with_callback, weights


def train(folder: Path, name: str, retain_term: str, **overrides) -> None:
    trainer, _ = trainer_with_callback(
        folder,
        options={"retain_term": retain_term, "objective": "npo", "forget_batch_size": 8},
        num_train_epochs=2,
        **overrides,
    )
    trainer.train()
    if trainer.is_world_process_zero():
        torch.save(weights(trainer.accelerator.unwrap_model(trainer.model)), folder / f"{name}.pt")
        (folder / f"{name}.json").write_text(json.dumps(trainer.state.log_history))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for retain_term in ("nll", "kl"):
        train(folder, f"two-{retain_term}", retain_term, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    # Fewer forget examples than micro-batches: nobody may wait for ever.
    trainer, _ = trainer_with_callback(
        folder, options={"forget_batch_size": 3}, per_device_train_batch_size=1, gradient_accumulation_steps=4
    )
    trainer.train()
    leave()
