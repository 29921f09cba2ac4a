"""The two sets of `unlearn`: opened, checked against each other, and made ready for a Trainer; of language models and of classifiers."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from datasets import Dataset
from transformers import (
    AutoImageProcessor,
    BaseImageProcessor,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    default_data_collator,
)

from hf_unlearn.data import DataLike, about, check_disjoint, load_data, open_data, tokenize_examples
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import LoadedModel, ModelLike, context_length, load_processing_class, split_revision
from hf_unlearn.training._class_rows import check_labels, class_examples
from hf_unlearn.training._forget_data import answer_collator, check_ids
from hf_unlearn.training._knowledge import sample_of
from hf_unlearn.training._retain_overlap import LABELS


Processing: TypeAlias = PreTrainedTokenizerBase | BaseImageProcessor
TEXTS, IMAGES = ("text", "sentence"), ("image", "img")
"""Raw columns of classifiers that are understood."""


@dataclass(frozen=True)
class Sets:
    """Both sets as they came.

    Attributes:
        forget: What must go.
        retain: What must stay.
        classes: Whether they are a classifier's.
    """

    forget: Dataset
    retain: Dataset
    classes: bool


@dataclass(frozen=True)
class Prepared:
    """Both sets ready for training.

    Attributes:
        forget: For the callback.
        retain: For the Trainer.
        collator: Makes batches of either.
        forget_examples: Of a language model, tokenized.
    """

    forget: Dataset
    retain: Dataset
    collator: Any
    forget_examples: list[dict[str, list[int]]] = field(default_factory=list)

    def retain_sample(self, trainer: Trainer) -> list[dict[str, Any]]:
        """A few retain rows as `answer_probabilities` takes them."""
        few = self.retain.select(sample_of(range(len(self.retain))))
        return few.to_list() if self.forget_examples else class_examples(trainer, few, name="retain")


def open_sets(forget: DataLike, retain: DataLike, *, classes: bool, allow_overlap: bool) -> Sets:
    """Open both, without a model.

    Raises:
        ValueError: Data that cannot be read, or shared rows (of classifiers the callback looks for them).
    """
    load = open_data if classes else load_data
    with about("forget"):
        forget_rows = load(forget)
    with about("retain"):
        retain_rows = load(retain)
    if not classes:
        check_disjoint(forget_rows, retain_rows, allow_overlap=allow_overlap, name="retain")
    return Sets(forget_rows, retain_rows, classes)


def load_processing(
    model: ModelLike, processing_class: Any, sets: Sets, *, trust_remote_code: bool
) -> Processing | None:
    """Tokenizer or image processor; None where a classifier's rows are processed already and none was given."""
    if not sets.classes:
        return load_processing_class(model, processing_class, trust_remote_code=trust_remote_code)
    if processing_class is not None and not isinstance(processing_class, str):
        return processing_class
    columns = set(sets.forget.column_names)
    if sets.forget.format["type"] == "custom" or not columns & {*TEXTS, *IMAGES}:
        return None
    if columns & set(TEXTS):
        return load_processing_class(model, processing_class, trust_remote_code=trust_remote_code)
    named = str(model) if isinstance(model, (str, os.PathLike)) else getattr(model.config, "_name_or_path", "")
    source, revision = split_revision(processing_class or named)
    try:
        return AutoImageProcessor.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ValueError(f"no image processor in {str(source)!r}: pass processing_class=. ({error})") from error


def prepare(
    model: LoadedModel, sets: Sets, processing: Any, *, max_length: int | None, prompt_template: str | None
) -> Prepared:
    """Tokenize, or process as the classifier takes it.

    Raises:
        ValueError: Rows that do not fit the model; says of which set.
    """
    if sets.classes:
        with about("forget"):
            forget, collator = _class_rows(model, sets.forget, processing, max_length)
        with about("retain"):
            retain, collator = _class_rows(model, sets.retain, processing, max_length)
        return Prepared(forget, retain, collator)
    limit = context_length(model) if max_length is None else max_length
    tokenized = []
    for name, rows in (("forget", sets.forget), ("retain", sets.retain)):
        with about(name):
            tokenized.append(tokenize_examples(rows, processing, max_length=limit, prompt_template=prompt_template))
        check_ids(tokenized[-1], model, name=name)
    return Prepared(sets.forget, tokenized[1], answer_collator(model, processing), tokenized[0].to_list())


def _class_rows(
    model: PreTrainedModel, rows: Dataset, processing: Any, max_length: int | None
) -> tuple[Dataset, Callable[[list[Any]], Mapping[str, torch.Tensor]]]:
    columns = set(rows.column_names)
    if rows.format["type"] == "custom" or columns & {"input_ids", "pixel_values"}:
        pads = isinstance(processing, PreTrainedTokenizerBase)
        return rows, DataCollatorWithPadding(processing) if pads else default_data_collator
    label = next((name for name in LABELS if name in columns), None)
    text = next((name for name in TEXTS if name in columns), None)
    image = next((name for name in IMAGES if name in columns), None)
    if label is None or (text or image) is None:
        raise ValueError(
            f"rows for a classifier need a label and {' or '.join((*TEXTS, *IMAGES))}, or what the model takes (input_ids or pixel_values); "
            f"they have {', '.join(rows.column_names)}."
        )
    check_labels(rows.with_format(None)[label], model, name=f"column {label!r}", ignored=IGNORE_INDEX)
    if image is not None:

        def process(batch: dict[str, list[Any]]) -> dict[str, Any]:
            pixels = processing([each.convert("RGB") for each in batch[image]], return_tensors="pt")["pixel_values"]
            return {"pixel_values": list(pixels), "labels": batch[label]}

        return rows.with_transform(process), default_data_collator
    limit = context_length(model) if max_length is None else max_length
    encoded = dict(processing(list(rows[text])))
    longest = max(map(len, encoded["input_ids"]))
    if limit is not None and longest > limit:
        raise ValueError(
            f"a row has {longest} tokens, more than the {limit} that are seen at once. Nothing is cut silently: shorten or drop it."
        )
    return Dataset.from_dict({**encoded, "labels": list(rows[label])}), DataCollatorWithPadding(processing)
