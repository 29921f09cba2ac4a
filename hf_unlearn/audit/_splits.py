"""The data of an audit: opened, checked against each other, cut to size, and turned into prompts and answers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import DataLike, about, check_disjoint, load_data, prompt_token_ids, tokenize_examples
from hf_unlearn.functional import IGNORE_INDEX, clusters_by_content


logger = logging.getLogger(__name__)
MAX_NEW_TOKENS = 128
"""No default is longer than this, whatever the answers."""


@dataclass(frozen=True)
class Split:
    """One set as the audit uses it.

    Attributes:
        name: "forget", "retain" or "holdout".
        dataset: The rows that are used.
        total: How many there were.
        examples: `input_ids` and `labels` of each.
        prompts: Token ids before each answer.
        clusters: Number of each row's cluster: rows with the same prompt are one, whatever is resampled.
    """

    name: str
    dataset: Dataset
    total: int
    examples: Sequence[dict[str, list[int]]]
    prompts: tuple[tuple[int, ...], ...]

    @cached_property
    def clusters(self) -> np.ndarray:
        return clusters_by_content(self.prompts)


def load_splits(
    data: Mapping[str, DataLike | None],
    tokenizer: PreTrainedTokenizerBase,
    max_examples: int,
    seed: int,
    allow_overlap: bool,
    prompt_template: str | None = None,
) -> dict[str, Split]:
    """Open all sets; refuse overlaps with the forget set; draw a seeded subset of what is too large."""
    datasets = {}
    for name, value in data.items():
        if value is not None:
            with about(name):
                datasets[name] = load_data(value)
    for other in ("retain", "holdout"):
        if other in datasets:
            check_disjoint(datasets["forget"], datasets[other], allow_overlap=allow_overlap, name=other)
    splits = {}
    for name, dataset in datasets.items():
        total = len(dataset)
        if total > max_examples:
            chosen = np.random.default_rng(seed).choice(total, max_examples, replace=False)
            dataset = dataset.select(sorted(chosen.tolist()))
            logger.info("using %d of %d %s examples, drawn with seed %d", max_examples, total, name, seed)
        with about(name):
            examples = tokenize_examples(dataset, tokenizer, prompt_template=prompt_template).to_list()
            prompts = tuple(map(tuple, prompt_token_ids(dataset, tokenizer, prompt_template=prompt_template)))
        splits[name] = Split(name, dataset, total, examples, prompts)
    return splits


def longest_answer(splits: Mapping[str, Split]) -> int:
    """Enough for every answer in the data, end token included, within reason."""
    lengths = [
        sum(label != IGNORE_INDEX for label in example["labels"])
        for split in splits.values()
        for example in split.examples
    ]
    return min(max(lengths), MAX_NEW_TOKENS)
