"""A classifier's rows as its Trainer would see them: through the data set's transform and the Trainer's collator. Knows no text."""

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import Trainer

from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import LoadedModel
from hf_unlearn.training._retain_overlap import LABELS


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
        ValueError: A label that is no class of the model, or the Trainer's collator makes no labelled batch of them.
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
    if "input_ids" in found[0] or "pixel_values" in found[0]:
        for label in LABELS:
            if label in found[0]:
                check_labels([row[label] for row in found], trainer.model, name=name)
    try:
        batch = class_collator(trainer)(found[:2])
    except Exception as error:
        raise ValueError(_unfit(name, rows, trainer, f"the Trainer's collator fails on them: {error!r}")) from error
    if set(batch) == {"labels"}:
        raise ValueError(_unfit(name, rows, trainer, "the batch holds nothing but labels"))
    return found


def check_labels(labels: Iterable[Any], model: LoadedModel, *, name: str, ignored: int | None = None) -> None:
    """Refuse what is no class of the model; the loss would say it without a row, on an accelerator without words.

    Args:
        labels: One a row.
        model: A classifier.
        name: Of the set.
        ignored: A label that the loss leaves out.

    Raises:
        ValueError: Says which row.
    """
    known = int(model.config.num_labels)
    for row, label in enumerate(labels):
        whole = _whole(label)
        if (whole is None or not 0 <= whole < known) and (ignored is None or whole != ignored):
            shown = label.tolist() if isinstance(label, torch.Tensor) else label
            raise ValueError(
                f"{name}: labels must be whole numbers from 0 and below num_labels ({known}); row {row} has {shown!r}."
            )


def check_train_labels(trainer: Trainer) -> None:
    """`check_labels` of the Trainer's own rows, where its labels are stored as they are trained on.

    Raises:
        ValueError: Says which row.
    """
    rows = trainer.train_dataset
    if (
        not isinstance(rows, Dataset)
        or rows.format["type"] == "custom"
        or not hasattr(trainer.model.config, "num_labels")
    ):
        return
    # Raw columns for a collator of one's own may be turned into labels there.
    if not {"input_ids", "pixel_values", "inputs_embeds"} & set(rows.column_names):
        return
    for label in LABELS:
        if label in rows.column_names:
            check_labels(rows.with_format(None)[label], trainer.model, name="train_dataset", ignored=IGNORE_INDEX)


def _whole(label: Any) -> int | None:
    try:
        return operator.index(label)
    except (TypeError, ValueError):
        return None


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
