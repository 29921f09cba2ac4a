"""The forget set as training needs it: tokenized, checked against model and retain set, ready to be batched."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.data import AnswerCollator, DataLike, check_disjoint, load_data, pad_token_id, tokenize_examples
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import context_length


@dataclass(frozen=True)
class ForgetData:
    """Forget examples, unpadded.

    Attributes:
        examples: `input_ids` and `labels` of each; of a classifier whatever it takes, and its class.
        num_answer_tokens: Labelled tokens of each; shape `(examples,)`.
        collator: Pads them.
        rows: As they came.
        tokenizer: Where there is one.
        is_classification: Whether an example has one class instead of an answer.
        prompt_template: How the questions are put, if not in the tokenizer's way.
    """

    examples: list[dict[str, Any]]
    num_answer_tokens: np.ndarray
    collator: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    rows: Dataset
    tokenizer: PreTrainedTokenizerBase | None
    is_classification: bool = False
    prompt_template: str | None = None

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """Some examples as tensors `input_ids`, `attention_mask`, `labels`."""
        return self.collator([self.examples[index] for index in indices])


def prepare_forget_data(
    trainer: Trainer,
    forget_dataset: DataLike,
    *,
    processing_class: PreTrainedTokenizerBase | None = None,
    allow_overlap: bool = False,
    prompt_template: str | None = None,
) -> ForgetData:
    """Open, tokenize and check the forget set against the Trainer's model and training data.

    Args:
        trainer: Whose model will forget.
        forget_dataset: What must go.
        processing_class: The tokenizer; default: the Trainer's.
        allow_overlap: Accept rows that the Trainer also trains on.
        prompt_template: How questions are put, see `tokenize_examples`.

    Raises:
        ValueError: Columns, lengths or overlaps that cannot work.
    """
    tokenizer = processing_class or trainer.processing_class
    if is_classifier(trainer.model):
        if prompt_template is not None:
            raise ValueError("prompt_template is for questions; the model is a classifier.")
        if not isinstance(forget_dataset, Dataset):
            raise ValueError(
                "for a classifier pass the forget rows as a datasets.Dataset, processed as the train_dataset is."
            )
        return _classification_data(trainer, forget_dataset, tokenizer, allow_overlap)
    forget = load_data(forget_dataset)
    if tokenizer is None and not {"input_ids", "labels"} <= set(forget.column_names):
        raise ValueError(
            "pass processing_class= (the tokenizer) to the callback or to the Trainer: forget rows are text."
        )
    limit = context_length(trainer.model)
    tokenized = tokenize_examples(forget, tokenizer, max_length=limit, prompt_template=prompt_template)
    if isinstance(trainer.train_dataset, Dataset) and not allow_overlap:
        _check_overlap(forget, tokenized, trainer.train_dataset)
    examples = tokenized.to_list()
    lengths = np.array([_num_answer_tokens(example) for example in examples])
    collator = AnswerCollator(0 if tokenizer is None else pad_token_id(tokenizer))
    return ForgetData(examples, lengths, collator, forget, tokenizer, prompt_template=prompt_template)


def is_classifier(model: torch.nn.Module) -> bool:
    """Whether the model gives one row of class logits per example."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return type(inner).__name__.endswith(("ForSequenceClassification", "ForImageClassification"))


def _classification_data(
    trainer: Trainer, forget: Dataset, tokenizer: PreTrainedTokenizerBase | None, allow_overlap: bool
) -> ForgetData:
    """Rows as the Trainer's own, through the Trainer's own collator."""
    retain = trainer.train_dataset
    label = next((name for name in ("labels", "label") if name in forget.column_names), None)
    wanted = [name for name in ("input_ids", "pixel_values") if name in forget.column_names]
    if label is None or not wanted:
        raise ValueError(
            "forget rows for a classifier need a label and what the model takes (input_ids or pixel_values), processed as the "
            f"train_dataset is; they have {', '.join(forget.column_names)}."
        )
    wanted += [name for name in ("attention_mask", "token_type_ids") if name in forget.column_names]
    if isinstance(retain, Dataset) and not allow_overlap and set(wanted) <= set(retain.column_names):
        there = {_content(row, wanted[0]): index for index, row in enumerate(retain)}
        pairs = [(index, there[key]) for index, row in enumerate(forget) if (key := _content(row, wanted[0])) in there]
        _refuse_overlap(pairs, len(forget))
    examples = forget.select_columns([*wanted, label]).with_format("python" if "input_ids" in wanted else "torch")
    rows = [dict(row) for row in examples]
    return ForgetData(rows, np.ones(len(rows), int), trainer.data_collator, forget, tokenizer, is_classification=True)


def _num_answer_tokens(example: Mapping[str, list[int]]) -> int:
    return sum(label != IGNORE_INDEX for label in example["labels"][1:])


def _check_overlap(forget: Dataset, tokenized: Dataset, retain: Dataset) -> None:
    """Compare rows as they came, or by token ids where only the retain set is tokenized already."""
    if "input_ids" not in retain.column_names or "input_ids" in forget.column_names:
        check_disjoint(forget, retain, name="the Trainer's train_dataset")
        return
    ids = {tuple(row["input_ids"]): index for index, row in enumerate(retain.select_columns(["input_ids"]))}
    pairs = [(index, ids[key]) for index, row in enumerate(tokenized) if (key := tuple(row["input_ids"])) in ids]
    _refuse_overlap(pairs, len(forget))


def _refuse_overlap(pairs: list[tuple[int, int]], count: int) -> None:
    if pairs:
        shown = ", ".join(f"{index}: {there}" for index, there in pairs[:10])
        raise ValueError(
            f"{len(pairs)} of {count} forget rows are also in the Trainer's train_dataset (forget row: row there): {shown}. Remove them "
            "from one of the two, or pass allow_overlap=True."
        )


def _content(row: Mapping[str, Any], name: str) -> bytes:
    return np.asarray(row[name]).tobytes()
