"""Whether forget rows are also in what the Trainer trains on, in whatever shape that is: raw, tokenized, packed, read as it comes.

What cannot be looked through is said, never passed over. Knows datasets and token ids; no objectives.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice, pairwise
from typing import Any

import numpy as np
from datasets import Dataset, IterableDataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import check_disjoint
from hf_unlearn.data._columns import is_understood
from hf_unlearn.data._fingerprint import stored_rows


logger = logging.getLogger(__name__)
PLACE = "the Trainer's train_dataset"
MAX_STREAMED = 1000
"""Rows of a stream, or of a data set of one's own, that are looked through."""
MIN_CONTAINED = 16
"""Tokens from which a forget row inside a longer row is no accident."""
LABELS = ("labels", "label", "label_ids")
_CONTENT = ("input_ids", "pixel_values", "image", "img", "text", "sentence")

Ids = tuple[int, ...]


def check_text_overlap(
    forget: Dataset, examples: Sequence[Mapping[str, Any]], retain: Any, tokenizer: PreTrainedTokenizerBase | None
) -> None:
    """Refuse forget rows that the Trainer also trains on; warn where that cannot be seen.

    Args:
        forget: The rows as they came.
        examples: The same rows, tokenized.
        retain: The Trainer's training set.
        tokenizer: Of both; its start, end and padding tokens at both ends of a row do not count.

    Raises:
        ValueError: Shared rows; says which, by index.
    """
    rows = _rows(retain)
    if rows is None:
        _warn(f"it is a {type(retain).__name__}, which can be read only once or not by index")
    elif rows and "input_ids" in rows[0]:
        _refuse(_shared(examples, rows, tokenizer), len(examples))
    elif rows:
        raw = retain if isinstance(retain, Dataset) else Dataset.from_list([dict(row) for row in rows])
        if is_understood(raw.column_names):
            check_disjoint(forget, raw, name=PLACE)
        else:
            _warn(f"its columns ({', '.join(raw.column_names)}) are read by a collator of your own")


def check_class_overlap(forget: Dataset, retain: Any) -> None:
    """The same for a classifier's rows, by what is stored in a column that both sets have.

    Raises:
        ValueError: Shared rows; says which, by index.
    """
    if not isinstance(retain, Dataset):
        _warn(f"it is a {type(retain).__name__}, not a datasets.Dataset")
        return
    shared = set(forget.column_names) & set(retain.column_names) - set(LABELS)
    content = next((name for name in (*_CONTENT, *sorted(shared)) if name in shared), None)
    if content is None:
        _warn(f"it has the columns {', '.join(retain.column_names)}, the forget rows {', '.join(forget.column_names)}")
        return
    there = {key: index for index, key in enumerate(_contents(retain, content))}
    pairs = [(index, there[key]) for index, key in enumerate(_contents(forget, content)) if key in there]
    _refuse(pairs, len(forget))


def _rows(retain: Any) -> Sequence[Mapping[str, Any]] | None:
    """All rows of a `Dataset`, the first ones of what else can be read twice; None of the rest."""
    if isinstance(retain, Dataset):
        plain = retain.with_format(None)
        wanted = [name for name in ("input_ids", "seq_lengths") if name in plain.column_names]
        return plain.select_columns(wanted) if "input_ids" in wanted else plain
    if isinstance(retain, IterableDataset):
        rows = list(islice(iter(retain), MAX_STREAMED + 1))
    elif hasattr(retain, "__len__") and hasattr(retain, "__getitem__"):
        rows = [retain[index] for index in range(min(len(retain), MAX_STREAMED + 1))]
    else:
        return None
    if not all(isinstance(row, Mapping) for row in rows):
        return None
    if len(rows) > MAX_STREAMED:
        logger.warning("only the first %d rows of %s are looked through for forget rows.", MAX_STREAMED, PLACE)
    return rows[:MAX_STREAMED]


def _shared(
    examples: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase | None,
) -> list[tuple[int, int]]:
    """Forget row and row there, by token ids: the same document, or one inside a longer row."""
    special = set() if tokenizer is None else set(tokenizer.all_special_ids)
    wanted = {_stripped(example["input_ids"], special): index for index, example in enumerate(examples)}
    by_head: dict[Ids, list[Ids]] = {}
    for ids in wanted:
        if len(ids) >= MIN_CONTAINED:
            by_head.setdefault(ids[:MIN_CONTAINED], []).append(ids)
    found: dict[int, int] = {}
    for there, row in enumerate(rows):
        for document in _documents(row):
            ids = _stripped(document, special)
            if ids in wanted:
                found.setdefault(wanted[ids], there)
            for at in range(len(ids) - MIN_CONTAINED) if by_head else ():
                for key in by_head.get(ids[at : at + MIN_CONTAINED], ()):
                    if ids[at : at + len(key)] == key:
                        found.setdefault(wanted[key], there)
    return sorted(found.items())


def _documents(row: Mapping[str, Any]) -> Iterator[list[int]]:
    """What was packed into a row, where it says so; else the row."""
    ids = np.asarray(row["input_ids"]).ravel().tolist()
    ends = list(accumulate(row.get("seq_lengths") or [len(ids)], initial=0))
    for start, end in pairwise(ends):
        yield ids[start:end]


def _stripped(ids: Sequence[int], special: set[int]) -> Ids:
    """Without start, end and padding tokens at both ends, which every way of tokenizing sets differently."""
    kept = [at for at, token in enumerate(ids) if token not in special]
    return tuple(ids[kept[0] : kept[-1] + 1]) if kept else tuple(ids)


def _contents(dataset: Dataset, column: str) -> Iterator[bytes]:
    for row in stored_rows(dataset.select_columns([column])):
        value = row[column]
        try:
            yield np.asarray(value, dtype=np.float64).tobytes()
        except (TypeError, ValueError):  # text, files, ragged lists
            yield json.dumps(value, sort_keys=True, default=repr).encode()


def _warn(reason: str) -> None:
    logger.warning("%s was not looked through for forget rows: %s. Make sure that it holds none.", PLACE, reason)


def _refuse(pairs: Sequence[tuple[int, int]], count: int) -> None:
    if pairs:
        shown = ", ".join(f"{index}: {there}" for index, there in pairs[:10])
        raise ValueError(
            f"{len(pairs)} of {count} forget rows are also in {PLACE} (forget row: row there): {shown}. Remove them from one of the two, or "
            "pass allow_overlap=True."
        )
