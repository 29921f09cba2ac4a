"""All weights of a checkpoint, also where its file names or divides them otherwise than the model does.

`save_pretrained` writes some architectures as they were first published (GPT-NeoX its head, mixtures their experts one by one), and the Trainer
loads a checkpoint by the model's names, so that what is named otherwise keeps the values that it had. It says so in the log alone.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments


logger = logging.getLogger(__name__)


@contextmanager
def whole_checkpoints(trainer: Trainer, checkpoint: str | None) -> Iterator[None]:
    """Inside, a training that goes on from a checkpoint, or ends with its best one, has all of the checkpoint's weights.

    Args:
        trainer: Before `train`.
        checkpoint: What it goes on from; None = nothing.

    Raises:
        ValueError: From within the training: the checkpoint lacks weights.
    """
    callbacks = trainer.callback_handler.callbacks
    completes = _Completes(trainer, checkpoint)
    callbacks.insert(0, completes)  # what others look at on these events is the checkpoint's
    try:
        yield
    finally:
        if completes in callbacks:
            callbacks.remove(completes)


class _Completes(TrainerCallback):
    def __init__(self, trainer: Trainer, checkpoint: str | None):
        self._trainer, self._checkpoint = trainer, checkpoint

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        if self._checkpoint is not None:
            self._complete(self._checkpoint)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._complete(state.best_model_checkpoint)

    def _complete(self, checkpoint: str) -> None:
        if not (
            self._trainer.is_deepspeed_enabled or self._trainer.is_fsdp_enabled
        ):  # they keep the model's own names
            load_what_is_named_otherwise(self._trainer.model, Path(checkpoint))


def load_what_is_named_otherwise(model: torch.nn.Module, checkpoint: Path) -> None:
    """Where the checkpoint's file lacks names of the model's weights, load it the way `from_pretrained` does.

    Args:
        model: With the weights that the file names as it does; changed in place. Adapters are left to PEFT.
        checkpoint: Its folder.

    Raises:
        ValueError: The checkpoint lacks weights.
    """
    if not isinstance(model, PreTrainedModel):
        return
    state = model.state_dict()
    named = {name for file in checkpoint.glob("model*.safetensors") for name in _names(file)}
    there = {_place(state[name]) for name in named & state.keys()}
    otherwise = [
        name for name in state.keys() - named if _place(state[name]) not in there
    ]  # tied ones are written once
    if not named or not otherwise:
        return
    whole, told = type(model).from_pretrained(checkpoint, dtype=model.dtype, output_loading_info=True)
    if told["missing_keys"]:
        raise ValueError(
            f"{str(checkpoint)!r} lacks {len(told['missing_keys'])} of the model's weights, such as {min(told['missing_keys'])}. Start the training "
            "anew in another folder."
        )
    model.load_state_dict(whole.state_dict())
    logger.info("%d weights of %s are named otherwise in the file.", len(otherwise), checkpoint.name)


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as opened:
        return list(opened.keys())


def _place(tensor: torch.Tensor) -> tuple[int, tuple[int, ...]]:
    return (tensor.data_ptr(), tuple(tensor.shape))
