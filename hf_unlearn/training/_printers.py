"""What the Trainer's printers print while a tracker watches. Values go to every other callback (TensorBoard, W&B, the log) as they are."""

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from transformers import ProgressCallback, Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback


Filter = Callable[[int, Mapping[str, Any]], Mapping[str, Any]]
"""From step and log to what is to be printed of it."""


def filter_printers(trainer: Trainer, shown: Filter, done: set[int]) -> None:
    """Have the Trainer's printers ask first.

    They come before a callback that is added to the Trainer, and a log that they must not print has to reach the callbacks before them;
    so neither the order of callbacks nor the log can be changed.

    Args:
        trainer: Whose printers.
        shown: A bound method; held weakly, and with its owner the filter ends.
        done: Printers that ask already, by id; grows.
    """
    ask = weakref.WeakMethod(shown)
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, (PrinterCallback, ProgressCallback)) and id(callback) not in done:
            done.add(id(callback))
            callback.on_log = functools.partial(_print_shown, callback.on_log, ask)


def _print_shown(
    print_log: Callable[..., None],
    ask: "weakref.WeakMethod[Filter]",
    args: TrainingArguments,
    state: TrainerState,
    control: TrainerControl,
    logs: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    shown = ask()
    printed = logs if shown is None or logs is None else shown(state.global_step, logs)
    if printed or not logs:
        print_log(args, state, control, logs=printed, **kwargs)
