"""What a training set says, read out of whatever shape it has: tokenized, packed, or rows as they came. Knows datasets and token ids."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import tokenize_examples
from hf_unlearn.data._columns import is_understood
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.training._knowledge import sample_of


_MASKS = ("assistant_masks", "completion_mask")


def tokenized_examples(dataset: Any, limit: int) -> list[dict[str, Any]]:
    """Rows of a training set with a prompt and labels of their own, unpacked; none of one that is raw or read as it comes.

    Args:
        dataset: A Trainer's.
        limit: Most rows, evenly from the first to the last.
    """
    columns = dataset.column_names if isinstance(dataset, Dataset) else []
    marks = next((name for name in ("labels", *_MASKS) if name in columns), None)
    if "input_ids" not in columns or marks is None:
        return []
    names = [name for name in ("input_ids", marks, "seq_lengths") if name in columns]
    plain = dataset.with_format(None).select_columns(names)
    rows = [
        part for at in sample_of(range(len(plain)), limit) for part in _unpacked(plain[at], masked=marks in _MASKS)
    ]
    return [row for row in rows if any(label != IGNORE_INDEX for label in row["labels"][1:])]


def readable_examples(
    dataset: Any, limit: int, tokenizer: PreTrainedTokenizerBase | None, prompt_template: str | None
) -> list[dict[str, Any]]:
    """The same, and rows that are still text are tokenized; none of what cannot be read."""
    found = tokenized_examples(dataset, limit)
    if found or tokenizer is None or not isinstance(dataset, Dataset) or not is_understood(dataset.column_names):
        return found
    if "input_ids" in dataset.column_names:
        return []
    rows = dataset.with_format(None).select(sample_of(range(len(dataset)), limit))
    return tokenize_examples(rows, tokenizer, prompt_template=prompt_template).to_list()


def answer_ids(example: Mapping[str, Sequence[int]]) -> list[int]:
    """The labelled tokens of an example."""
    return [int(label) for label in example["labels"] if label != IGNORE_INDEX]


def _unpacked(row: Mapping[str, Any], *, masked: bool) -> list[dict[str, list[int]]]:
    """The examples of one row: TRL packs several, names their lengths, and marks what is trained on."""
    ids, marks = row["input_ids"], next(row[name] for name in ("labels", *_MASKS) if name in row)
    labels = [token if mark else IGNORE_INDEX for token, mark in zip(ids, marks, strict=True)] if masked else marks
    ends = np.cumsum(row.get("seq_lengths") or [len(ids)]).tolist()
    return [
        {"input_ids": list(ids[start:end]), "labels": list(labels[start:end])}
        for start, end in zip([0, *ends], ends, strict=False)
    ]
