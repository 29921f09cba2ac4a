"""The training that `unlearn` runs: its arguments, and what would make it one that trains nothing."""

from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from hf_unlearn.config import UnlearnConfig
from hf_unlearn.config._unlearn_config import TRAINING


FULL_LEARNING_RATE = 1e-5
"""TOFU's, for all weights."""
LORA_LEARNING_RATE = 1e-4


def training_arguments(folder: Path, config: UnlearnConfig) -> TrainingArguments:
    """Those given, or those that the options amount to; checkpoints go into `checkpoints` in the folder.

    Args:
        folder: Of the result.
        config: Its `learning_rate` may still be open; then it is that for all weights, see `default_learning_rate`.
    """
    if config.args is not None:
        return config.args
    given = {name: getattr(config, name) for name in TRAINING}
    defaults = {"learning_rate": FULL_LEARNING_RATE, "save_steps": 500, "max_steps": -1}
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        weight_decay=0.01 if config.saliency is None else 0.0,  # decay would move the weights that are not to train
        logging_steps=10,
        save_strategy="no" if config.save_steps is None else "steps",
        save_total_limit=2,
        report_to="none",
        # transformers refuses bf16 there unless it is asked for
        use_cpu=config.bf16 and not torch.accelerator.is_available(),
        **{name: defaults[name] if value is None else value for name, value in given.items()},
    )


def default_learning_rate(model: PreTrainedModel | PeftModel, *, adapter: bool) -> float:
    """1e-5 for all weights, 1e-4 for an adapter; below a billion weights more, by the root of how many fewer, at most 100 times.

    With 1e-5 a model of a million weights does not visibly change in five epochs.
    """
    smaller = max(1.0, 1e9 / sum(parameter.numel() for parameter in model.parameters()))
    return (LORA_LEARNING_RATE if adapter else FULL_LEARNING_RATE) * min(100.0, smaller**0.5)


def check_steps(args: TrainingArguments, rows: int) -> None:
    """Refuse a training that would hand the model back as it came.

    Args:
        args: Of the training.
        rows: Of the retain set.

    Raises:
        ValueError: Not a single step, or none that moves a weight.
    """
    if args.max_steps <= 0 and not args.num_train_epochs > 0:
        raise ValueError(
            f"num_train_epochs must be above 0, got {args.num_train_epochs}: not a single step would be trained."
        )
    if not args.learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0, got {args.learning_rate}: nothing would be trained.")
    together = args.train_batch_size * args.world_size
    if args.dataloader_drop_last and rows < together:
        raise ValueError(
            f"dataloader_drop_last leaves no batch: {rows} retain rows are fewer than the {together} of one batch on all devices."
        )


def check_resumable(resume_from_checkpoint: bool | str, args: TrainingArguments) -> None:
    """Refuse to go on from a last checkpoint where there is none.

    Raises:
        ValueError: Says how checkpoints are kept.
    """
    folder = Path(args.output_dir)
    if resume_from_checkpoint is True and (not folder.is_dir() or get_last_checkpoint(str(folder)) is None):
        raise ValueError(f"there is no checkpoint in {str(folder)!r} to go on from; runs keep them with save_steps=.")
