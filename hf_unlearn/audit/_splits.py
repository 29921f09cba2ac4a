"""The data of an audit: opened, checked against each other, cut to size, and turned into prompts and answers."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import (
    CHUNK_TOKENS,
    DataLike,
    about,
    check_disjoint,
    chunk_texts,
    load_data,
    prompt_token_ids,
    tokenize_examples,
)
from hf_unlearn.data._columns import check_template, column_format
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
        total: How many examples there were.
        examples: `input_ids` and `labels` of each.
        prompts: Token ids before each answer.
        texts: Of running text, the one that each example is a chunk of.
        groups: What each example is about: its prompt, or its text.
        clusters: Number of each row's cluster: rows about the same are one, whatever is resampled.
    """

    name: str
    dataset: Dataset
    total: int
    examples: Sequence[dict[str, list[int]]]
    prompts: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...] | None = None

    @property
    def groups(self) -> Sequence[Hashable]:
        return self.prompts if self.texts is None else self.texts

    @property
    def kind(self) -> str:
        """What makes a cluster, in a word."""
        return "prompt" if self.texts is None else "text"

    @cached_property
    def clusters(self) -> np.ndarray:
        return clusters_by_content(self.groups)


def load_splits(
    data: Mapping[str, DataLike | None],
    tokenizer: PreTrainedTokenizerBase,
    max_examples: int,
    seed: int,
    allow_overlap: bool,
    prompt_template: str | None = None,
    context: int | None = None,
) -> dict[str, Split]:
    """Open all sets; refuse overlaps with the forget set; draw a seeded subset of what is too large.

    Running text is cut by `data.chunk_texts`, and the chunks are the examples; `context` is what the models can see at once.
    """
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
        if column_format(dataset.column_names) == "text":
            with about(name):
                check_template("text", prompt_template)
                splits[name] = _chunked(name, dataset, tokenizer, max_examples, seed, context)
            continue
        total = len(dataset)
        if total > max_examples:
            dataset = dataset.select(_drawn(name, total, max_examples, seed))
        with about(name):
            examples = tokenize_examples(dataset, tokenizer, prompt_template=prompt_template).to_list()
            prompts = tuple(map(tuple, prompt_token_ids(dataset, tokenizer, prompt_template=prompt_template)))
        splits[name] = Split(name, dataset, total, examples, prompts)
    return splits


def _drawn(name: str, total: int, max_examples: int, seed: int) -> list[int]:
    chosen = np.random.default_rng(seed).choice(total, max_examples, replace=False)
    logger.info("using %d of %d %s examples, drawn with seed %d", max_examples, total, name, seed)
    return sorted(chosen.tolist())


def _chunked(
    name: str, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_examples: int, seed: int, context: int | None
) -> Split:
    chunks, origin = chunk_texts(dataset, tokenizer, max_tokens=min(CHUNK_TOKENS, context or CHUNK_TOKENS))
    total = len(chunks)
    kept = _drawn(name, total, max_examples, seed) if total > max_examples else list(range(total))
    examples = chunks.select(kept).to_list()
    prompts = tuple(map(tuple, prompt_token_ids(chunks.select(kept), tokenizer)))
    used = dataset.select(sorted({origin[at] for at in kept}))
    return Split(name, used, total, examples, prompts, tuple(dataset[origin[at]]["text"] for at in kept))


def longest_answer(splits: Mapping[str, Split]) -> int:
    """Enough for every answer in the data, end token included, within reason."""
    lengths = [
        sum(label != IGNORE_INDEX for label in example["labels"])
        for split in splits.values()
        for example in split.examples
    ]
    return min(max(lengths), MAX_NEW_TOKENS)
