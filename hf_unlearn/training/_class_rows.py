"""A classifier's rows as its Trainer would see them: through the data set's transform and the Trainer's collator. Knows no text."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import Trainer


def class_examples(trainer: Trainer, rows: Dataset, *, name: str) -> list[dict[str, Any]]:
    """The rows of a set, ready for `class_collator`.

    A transform (`set_transform`, `with_transform`) is applied once, so that what the original was asked about is what is trained on,
    also where the transform draws at random.

    Args:
        trainer: Whose collator will make batches of them.
        rows: In the form of the Trainer's `train_dataset`: processed, with a transform, or raw for a collator of one's own.
        name: Of the set, for messages.

    Raises:
        TypeError: No `datasets.Dataset`.
        ValueError: The Trainer's collator makes no labelled batch of them.
    """
    if not isinstance(rows, Dataset):
        raise TypeError(
            f"{name}: for a classifier pass a datasets.Dataset in the form of the train_dataset, got {type(rows).__name__}."
        )
    if len(rows) == 0:
        raise ValueError(f"{name}: the dataset has no rows.")
    if rows.format["type"] is None and "pixel_values" in rows.column_names:
        rows = rows.with_format("torch")
    found = [dict(rows[index]) for index in range(len(rows))]
    if trainer.args.remove_unused_columns:
        kept = _understood(trainer.model)
        found = [{key: value for key, value in row.items() if key in kept} for row in found]
    try:
        batch = class_collator(trainer)(found[:2])
    except Exception as error:
        raise ValueError(_unfit(name, rows, trainer, f"the Trainer's collator fails on them: {error!r}")) from error
    if set(batch) == {"labels"}:
        raise ValueError(_unfit(name, rows, trainer, "the batch holds nothing but labels"))
    return found


def class_collator(trainer: Trainer) -> Callable[[list[Any]], dict[str, torch.Tensor]]:
    """The Trainer's collator; what it makes has `labels`, one class a row."""

    def collate(rows: list[Any]) -> dict[str, torch.Tensor]:
        batch = trainer.data_collator(rows)
        if not isinstance(batch, Mapping) or not isinstance(batch.get("labels"), torch.Tensor):
            raise ValueError("it gives no `labels`")
        return {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}

    return collate


def _understood(model: torch.nn.Module) -> set[str]:
    """Columns that the Trainer leaves in place for this model."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return {*inspect.signature(inner.forward).parameters, "label", "label_ids", "labels"}


def _unfit(name: str, rows: Dataset, trainer: Trainer, reason: str) -> str:
    hint = " Columns that the model does not take were removed: pass remove_unused_columns=False to keep them."
    return (
        f"{name}: rows for a classifier need a label and what the model takes (input_ids or pixel_values), in the form of the train_dataset; "
        f"they have {', '.join(rows.column_names)}, and {reason}.{hint if trainer.args.remove_unused_columns else ''}"
    )
