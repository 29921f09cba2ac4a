"""Run under torchrun by test_deepspeed.py: the callback under DeepSpeed ZeRO; the main process keeps the weights and logs."""

import json
import os
import sys
from pathlib import Path

import torch


os.environ.setdefault("DS_ACCELERATOR", "cpu")
from launch import leave
from runs import arguments, examples
from toys import tiny_llama
from transformers import Trainer

from hf_unlearn.data import AnswerCollator
from hf_unlearn.training import UnlearningCallback


def settings(stage: int) -> dict:
    """ZeRO on the CPU; what a GPU run would use, with torch's Adam."""
    return {
        "zero_optimization": {"stage": stage},
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto", "torch_adam": True}},
    }  # fmt: skip


def train(folder: Path, name: str, stage: int | None) -> None:
    overrides = {"optim": "adamw_torch", "learning_rate": 1e-3, "max_steps": 4, "weight_decay": 0.0}
    size = 8 if stage is None else 4
    if stage is not None:
        overrides["deepspeed"] = settings(stage)
    trainer = Trainer(
        model=tiny_llama(),
        args=arguments(folder, per_device_train_batch_size=size, **overrides),
        train_dataset=examples(24, seed=1),
        data_collator=AnswerCollator(0),
    )
    options = {"objective": "npo", "forget_batch_size": 8}
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=examples(11, seed=2), **options))
    trainer.train()
    trainer.save_model(folder / name)
    if trainer.is_world_process_zero():
        (folder / f"{name}.json").write_text(json.dumps(trainer.state.log_history))


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    torch.distributed.barrier()
    leave()
