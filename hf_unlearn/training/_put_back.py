"""Whether a recipe puts forget rows back into what its Trainer trains on. Knows texts and decoded tokens, however they are wrapped.

Only what can be seen: rows that are decoded or read as text. Where that does not give back what was handed in, it says so.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.data._columns import is_understood
from hf_unlearn.data._near_duplicates import words
from hf_unlearn.data._row_content import row_pieces
from hf_unlearn.training._knowledge import sample_of


logger = logging.getLogger(__name__)
HEAD = 4
"""Words by which a row is looked up."""
MIN_WORDS = 4
"""Shorter rows are found in others by accident."""
MAX_ROWS = 100_000
_CONTROLS = 64

Pieces = tuple[str, ...]


def refuse_put_back(trainer: Trainer, rows: Dataset, forget: Dataset) -> None:
    """Refuse a Trainer whose training set holds forget rows that are not in the rows it was made with.

    Args:
        trainer: What the recipe gave.
        rows: What it was called with: without the forget rows.
        forget: What must not be there.

    Raises:
        ValueError: Says how many, never which text.
    """
    if not is_understood(rows.column_names) or not is_understood(forget.column_names):
        return _unseen("the rows' columns are read by the recipe alone")
    there = _texts(trainer)
    if there is None:
        return _unseen("its rows cannot be decoded (pass processing_class=tokenizer to the Trainer)")
    controls = _searched(list(islice(row_pieces(rows.select(sample_of(range(len(rows)), _CONTROLS))), _CONTROLS)))
    unwanted = _searched(list(row_pieces(forget)))
    for found in _found(unwanted, (" ".join(pieces) for pieces in row_pieces(rows))):
        unwanted.pop(found, None)  # in other words there already: no work of the recipe
    hits = _found({**controls, **unwanted}, there)
    put_back = hits & unwanted.keys()
    if put_back:
        raise ValueError(
            f"make_trainer puts {len(put_back)} of {len(forget)} forget rows back into the train_dataset of its Trainer, which must train only "
            "on the rows that it is called with. Is another data set read inside make_trainer?"
        )
    if controls and len(hits & controls.keys()) < len(controls) / 2:
        _unseen("what is decoded from it does not read like the rows that it was made from")
    return None


def _searched(rows: Sequence[Pieces]) -> dict[Pieces, Pieces]:
    """Rows as words, with blanks around them, piece by piece; those that are too short to be told from others are left out."""
    found = {}
    for pieces in rows:
        split = [words(piece) for piece in pieces]
        if sum(map(len, split)) >= MIN_WORDS:
            key = tuple(f" {' '.join(piece)} " for piece in split if piece)
            found[key] = key
    return found


def _found(searched: dict[Pieces, Pieces], texts: Iterable[str]) -> set[Pieces]:
    """Those of which all pieces are in one of the texts, in their order."""
    by_head: dict[Pieces, list[Pieces]] = {}
    for pieces in searched:
        by_head.setdefault(tuple(max(pieces, key=len).split()[:HEAD]), []).append(pieces)
    lengths = sorted({len(head) for head in by_head})
    found = set[Pieces]()
    for text in texts:
        mine = words(text)
        whole = f" {' '.join(mine)} "
        heads = {tuple(mine[at : at + length]) for length in lengths for at in range(len(mine) - length + 1)}
        for head in heads & by_head.keys():
            found |= {pieces for pieces in by_head[head] if _in_order(pieces, whole)}
    return found


def _in_order(pieces: Pieces, text: str) -> bool:
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece) - 1  # the blank between two pieces belongs to both
    return True


def _texts(trainer: Trainer) -> Iterator[str] | None:
    """What the Trainer's rows say, of a large set of evenly spread ones; None where that cannot be seen."""
    there: Any = trainer.train_dataset
    if not isinstance(there, Dataset):
        return None
    tokenizer = trainer.processing_class or getattr(trainer.data_collator, "tokenizer", None)
    if "input_ids" in there.column_names:
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            return None
        chosen = _some(there.with_format(None).select_columns(["input_ids"]))
        return (tokenizer.decode(row["input_ids"], skip_special_tokens=True) for row in chosen)
    if not is_understood(there.column_names):
        return None
    return (" ".join(pieces) for pieces in row_pieces(_some(there)))


def _some(dataset: Dataset) -> Dataset:
    return dataset if len(dataset) <= MAX_ROWS else dataset.select(sample_of(range(len(dataset)), MAX_ROWS))


def _unseen(reason: str) -> None:
    logger.warning("what make_trainer's Trainer trains on was not looked through for forget rows: %s.", reason)
