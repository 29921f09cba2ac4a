"""The forget set as training needs it: tokenized, checked against model and retain set, ready to be batched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.data import AnswerCollator, DataLike, check_disjoint, load_data, pad_token_id, tokenize_examples
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import context_length


@dataclass(frozen=True)
class ForgetData:
    """Forget examples, unpadded.

    Attributes:
        examples: `input_ids` and `labels` of each.
        num_answer_tokens: Labelled tokens of each; shape `(examples,)`.
        collator: Pads them.
    """

    examples: list[dict[str, list[int]]]
    num_answer_tokens: np.ndarray
    collator: AnswerCollator

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """Some examples as tensors `input_ids`, `attention_mask`, `labels`."""
        return self.collator([self.examples[index] for index in indices])


def prepare_forget_data(
    trainer: Trainer,
    forget_dataset: DataLike,
    *,
    processing_class: PreTrainedTokenizerBase | None = None,
    allow_overlap: bool = False,
) -> ForgetData:
    """Open, tokenize and check the forget set against the Trainer's model and training data.

    Args:
        trainer: Whose model will forget.
        forget_dataset: What must go.
        processing_class: The tokenizer; default: the Trainer's.
        allow_overlap: Accept rows that the Trainer also trains on.

    Raises:
        ValueError: Columns, lengths or overlaps that cannot work.
    """
    tokenizer = processing_class or trainer.processing_class
    forget = load_data(forget_dataset)
    if tokenizer is None and not {"input_ids", "labels"} <= set(forget.column_names):
        raise ValueError(
            "pass processing_class= (the tokenizer) to the callback or to the Trainer: forget rows are text."
        )
    tokenized = tokenize_examples(forget, tokenizer, max_length=context_length(trainer.model))
    if isinstance(trainer.train_dataset, Dataset) and not allow_overlap:
        _check_overlap(forget, tokenized, trainer.train_dataset)
    examples = tokenized.to_list()
    lengths = np.array([_num_answer_tokens(example) for example in examples])
    return ForgetData(examples, lengths, AnswerCollator(0 if tokenizer is None else pad_token_id(tokenizer)))


def _num_answer_tokens(example: Mapping[str, list[int]]) -> int:
    return sum(label != IGNORE_INDEX for label in example["labels"][1:])


def _check_overlap(forget: Dataset, tokenized: Dataset, retain: Dataset) -> None:
    """Compare rows as they came, or by token ids where only the retain set is tokenized already."""
    if "input_ids" not in retain.column_names or "input_ids" in forget.column_names:
        check_disjoint(forget, retain, name="the Trainer's train_dataset")
        return
    ids = {tuple(row["input_ids"]): index for index, row in enumerate(retain.select_columns(["input_ids"]))}
    pairs = [(index, ids[key]) for index, row in enumerate(tokenized) if (key := tuple(row["input_ids"])) in ids]
    if pairs:
        shown = ", ".join(f"{index}: {there}" for index, there in pairs[:10])
        raise ValueError(
            f"{len(pairs)} of {len(forget)} forget rows are also in the Trainer's train_dataset (forget row: row there): {shown}. Remove them "
            "from one of the two, or pass allow_overlap=True."
        )
