"""The forget set as training needs it: tokenized, checked against model and retain set, ready to be batched."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.data import AnswerCollator, DataLike, about, load_data, pad_token_id, tokenize_examples
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import LoadedModel, context_length, is_classifier, vocabulary_size
from hf_unlearn.training._class_rows import check_train_labels, class_collator, class_examples
from hf_unlearn.training._retain_overlap import check_class_overlap, check_text_overlap


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

    def batches(self, size: int) -> Iterator[dict[str, torch.Tensor]]:
        """All examples in order, at most `size` at a time."""
        for start in range(0, len(self.examples), size):
            yield self.batch(range(start, min(start + size, len(self.examples))))


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
        rows = class_examples(trainer, forget_dataset, name="forget_dataset")
        check_train_labels(trainer)
        if not allow_overlap:
            check_class_overlap(forget_dataset, trainer.train_dataset)
        ones = np.ones(len(rows), int)
        return ForgetData(rows, ones, class_collator(trainer), forget_dataset, tokenizer, is_classification=True)
    found = text_forget_data(trainer.model, forget_dataset, tokenizer, prompt_template=prompt_template)
    if not allow_overlap:
        check_text_overlap(found.rows, found.examples, trainer.train_dataset, tokenizer)
    return found


def text_forget_data(
    model: LoadedModel,
    forget_dataset: DataLike,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    prompt_template: str | None = None,
) -> ForgetData:
    """Open, tokenize and check the forget set of a language model.

    Args:
        model: Which will forget.
        forget_dataset: What must go.
        tokenizer: None: the rows are tokenized.
        prompt_template: How questions are put, see `tokenize_examples`.

    Raises:
        ValueError: Columns or lengths that cannot work.
    """
    with about("forget_dataset"):
        forget = load_data(forget_dataset)
    if tokenizer is None and not {"input_ids", "labels"} <= set(forget.column_names):
        raise ValueError("pass processing_class= (the tokenizer), here or to the Trainer: forget rows are text.")
    with about("forget_dataset"):
        tokenized = tokenize_examples(
            forget, tokenizer, max_length=context_length(model), prompt_template=prompt_template
        )
    examples = tokenized.to_list()
    check_ids(examples, model, name="forget_dataset")
    lengths = np.array([_num_answer_tokens(example) for example in examples])
    collator = answer_collator(model, tokenizer)
    return ForgetData(examples, lengths, collator, forget, tokenizer, prompt_template=prompt_template)


def answer_collator(model: LoadedModel, tokenizer: PreTrainedTokenizerBase | None) -> AnswerCollator:
    """Pads with an id that the model knows: tokenizers get padding tokens added that no embedding was made for."""
    pad = 0 if tokenizer is None else pad_token_id(tokenizer)
    return AnswerCollator(pad if pad < vocabulary_size(model) else 0)


def place_model(trainer: Trainer) -> None:
    """Where training will need the model anyway; the Trainer may not have moved it yet."""
    if trainer.place_model_on_device and trainer.model.device != trainer.args.device:
        trainer.model.to(trainer.args.device)


def check_ids(examples: Iterable[Mapping[str, Any]], model: LoadedModel, *, name: str) -> None:
    """Refuse ids that the model has no embedding for; on an accelerator they would be an assertion without a name.

    Raises:
        ValueError: Says which row.
    """
    known = vocabulary_size(model)
    for index, example in enumerate(examples):
        if max(example["input_ids"]) >= known:
            raise ValueError(
                f"{name}: row {index} has the token id {max(example['input_ids'])}, but the model knows only {known} tokens: the "
                "tokenizer is another model's, or has tokens added (model.resize_token_embeddings makes room)."
            )


def _num_answer_tokens(example: Mapping[str, list[int]]) -> int:
    return sum(label != IGNORE_INDEX for label in example["labels"][1:])
