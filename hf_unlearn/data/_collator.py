"""Rows of token ids to one padded batch.

Knows lengths. Does not know models or devices. Attention masks come from lengths, never from `ids != pad`: where the padding
token is also the end token, the latter would hide real tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from hf_unlearn.functional import IGNORE_INDEX


def pad_token_id(processing_class: PreTrainedTokenizerBase | ProcessorMixin) -> int:
    """The id to pad with: the padding token, else the end token, else 0. Masks, not this id, tell padding from text."""
    tokenizer = bare_tokenizer(processing_class)
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    return 0


@dataclass(frozen=True)
class AnswerCollator:
    """Rows of `tokenize_examples` to one padded batch; usable as `Trainer(data_collator=...)`.

    Args:
        pad_token_id: What to fill with, see `pad_token_id`; it never decides the mask.
        padding_side: `"right"` (training, scoring) or `"left"`.

    Example:
        >>> batch = AnswerCollator(pad_token_id=0)([{"input_ids": [5, 0], "labels": [-100, 0]}, {"input_ids": [5, 6, 0],
        ...     "labels": [-100, 6, 0]}])
        >>> batch["attention_mask"].tolist(), batch["labels"].tolist()
        ([[1, 1, 0], [1, 1, 1]], [[-100, 0, -100], [-100, 6, 0]])
    """

    pad_token_id: int
    padding_side: str = "right"

    def __post_init__(self) -> None:
        if self.padding_side not in ("right", "left"):
            raise ValueError(f"padding_side must be 'right' or 'left', got {self.padding_side!r}.")

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad rows to their common length.

        Args:
            rows: Each with `input_ids` and `labels` of one length; other keys are ignored.

        Returns:
            `input_ids`, `attention_mask` and `labels`: int64, shape `(rows, longest)`.

        Raises:
            ValueError: No rows, a missing key, or ids and labels of different lengths.
        """
        if not rows:
            raise ValueError("Cannot make a batch of no rows.")
        lengths = [self._length(index, row) for index, row in enumerate(rows)]
        shape = (len(rows), max(lengths))
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "labels": torch.full(shape, IGNORE_INDEX),
        }
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            place = slice(0, length) if self.padding_side == "right" else slice(shape[1] - length, shape[1])
            batch["input_ids"][index, place] = torch.as_tensor(row["input_ids"])
            batch["attention_mask"][index, place] = 1
            batch["labels"][index, place] = torch.as_tensor(row["labels"])
        return batch

    @staticmethod
    def _length(index: int, row: Mapping[str, Any]) -> int:
        missing = [key for key in ("input_ids", "labels") if key not in row]
        if missing:
            raise ValueError(
                f"Row {index} of the batch has no {' and no '.join(missing)} (found: {', '.join(row) or 'nothing'}). "
                "Pass the dataset through `tokenize_examples` first."
            )
        if len(row["input_ids"]) != len(row["labels"]):
            raise ValueError(
                f"Row {index} of the batch has {len(row['input_ids'])} input_ids but {len(row['labels'])} labels."
            )
        return len(row["input_ids"])


def bare_tokenizer(processing_class: PreTrainedTokenizerBase | ProcessorMixin) -> PreTrainedTokenizerBase:
    """The tokenizer itself, also where a processor holds it."""
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    if not callable(tokenizer):
        raise TypeError(
            f"processing_class must be a tokenizer or a processor with one, got {type(processing_class).__name__}. "
            "Use `AutoTokenizer.from_pretrained(...)`."
        )
    return tokenizer
