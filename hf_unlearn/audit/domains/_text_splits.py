"""Sets of prompts and answers: opened, checked against each other, cut to size, tokenized; which rows belong together."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._audit_set import AuditSet, as_set
from hf_unlearn.audit._contracts import SPLITS
from hf_unlearn.audit.domains._variants import Variant, load_variants
from hf_unlearn.data import (
    CHUNK_TOKENS,
    QUESTION_TEMPLATE,
    DataLike,
    about,
    check_disjoint,
    chunk_texts,
    data_fingerprint,
    load_data,
    prompt_token_ids,
    tokenize_examples,
    with_examples,
)
from hf_unlearn.data._columns import check_template, column_format
from hf_unlearn.functional import IGNORE_INDEX


logger = logging.getLogger(__name__)
MAX_NEW_TOKENS = 128
"""No default is longer than this, whatever the answers."""
CLUSTER_COLUMNS = ("person_id", "subject", "cluster_id")
"""Columns that say which rows are about the same, in the order in which they are looked for."""


@dataclass(frozen=True)
class Split:
    """One set as the audit uses it.

    Attributes:
        name: "forget", "retain", "holdout", or a name of its own.
        dataset: The rows that are used.
        whole: All rows that these are a part of, none of whose names may stand in for a subject; None where a set was made otherwise.
        total: How many examples there were.
        examples: `input_ids` and `labels` of each.
        prompts: Token ids before each answer.
        texts: Of running text, the one that each example is a chunk of.
        subjects: Of each example, whom or what it is about, by the cluster column; None where there is none.
        cluster_column: That column.
        variants: Paraphrased and wrong answers, where the columns are; without paraphrases, where the true answers stand for them, wrong ones alone.
        role: What the set is for: "forget", "retain" or "holdout".
        metrics: Names of those that are measured on it; None = all that are measured on its role.
        prompt_template: How its questions are put, in-context examples included; None = by chat template or `data.QUESTION_TEMPLATE`.
        has_examples: Whether there are any.
        asked: What a report says of it beside its rows: role, metrics and template where they were given, hash and number of examples.
        answer_texts: The answers as text; None where rows are tokenized and there is no tokenizer.
        question_texts: What is asked, the same way, without template and in-context examples where the rows have it so.
    """

    name: str
    dataset: Dataset
    total: int
    examples: Sequence[dict[str, list[int]]]
    prompts: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...] | None = None
    subjects: tuple[str, ...] | None = None
    cluster_column: str | None = None
    variants: tuple[Variant, ...] = ()
    role: str = ""
    metrics: tuple[str, ...] | None = None
    prompt_template: str | None = None
    has_examples: bool = False
    asked: Mapping[str, str | int] = field(default_factory=dict)
    answer_texts: tuple[str, ...] | None = None
    question_texts: tuple[str, ...] | None = None
    whole: Dataset | None = None

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def fingerprint(self) -> str:
        """Of the rows, for the provenance."""
        return data_fingerprint(self.dataset)

    @property
    def kind(self) -> str:
        """What makes clusters, in words."""
        if self.subjects is not None:
            return f"different values of {self.cluster_column}"
        return "different prompts" if self.texts is None else "different texts"

    @cached_property
    def groups(self) -> np.ndarray:
        """Number of what each example answers: its prompt, or its text; shape `(examples,)`."""
        return _numbered(self.prompts if self.texts is None else self.texts)

    @cached_property
    def clusters(self) -> np.ndarray:
        """Number of each example's cluster: rows about the same are one, whatever is resampled; shape `(examples,)`."""
        return self.groups if self.subjects is None else _numbered(self.subjects)


def _numbered(items: Sequence) -> np.ndarray:
    """Equal items get one number, in the order of what they are: how the rows are ordered must not matter."""
    numbers = {item: number for number, item in enumerate(sorted(set(items)))}
    return np.array([numbers[item] for item in items], np.int64)


def load_splits(
    data: Mapping[str, DataLike | AuditSet | None],
    tokenizer: PreTrainedTokenizerBase,
    max_examples: int,
    seed: int,
    allow_overlap: bool,
    prompt_template: str | None = None,
    context: int | None = None,
    cluster_column: str | None = None,
    whole: Mapping[str, Dataset] | None = None,
) -> dict[str, Split]:
    """Open all sets; refuse overlaps with the forget set; draw a seeded subset of what is too large.

    Running text is cut by `data.chunk_texts`, and the chunks are the examples; `context` is what the models can see at once.
    `whole` has by name the rows that a set is a part of, where it is one.

    Raises:
        ValueError: Sets that cannot be read or overlap, or a set without the cluster column that was named.
    """
    sets = {name: as_set(name, value) for name, value in data.items() if value is not None}
    datasets = {}
    for name, found in sets.items():
        with about(name):
            datasets[name] = load_data(found.data)
    _check_disjoint(sets, datasets, allow_overlap)
    splits = {}
    for name, dataset in datasets.items():
        shots = _examples(name, dataset, sets[name].examples)
        template = _template(sets[name].prompt_template or prompt_template, shots)
        if column_format(dataset.column_names) == "text":
            with about(name):
                check_template("text", template)
                split = _chunked(name, dataset, tokenizer, max_examples, seed, context, cluster_column)
        else:
            total = len(dataset)
            if total > max_examples:
                dataset = dataset.select(_drawn(name, total, max_examples, seed))
            with about(name):
                examples = tokenize_examples(dataset, tokenizer, prompt_template=template).to_list()
                prompts = tuple(map(tuple, prompt_token_ids(dataset, tokenizer, prompt_template=template)))
                subjects = subjects_of(dataset, cluster_column)
                variants = load_variants(dataset, tokenizer, template)
            split = Split(name, dataset, total, examples, prompts, None, *subjects, variants)
        splits[name] = replace(
            split,
            role=sets[name].role,
            metrics=_names(sets[name].metrics),
            prompt_template=template,
            has_examples=shots is not None,
            asked=_asked(name, sets[name], shots),
            answer_texts=_as_text(split, tokenizer, "answer"),
            question_texts=_as_text(split, tokenizer, "question"),
            whole=(whole or {}).get(name, datasets[name]),
        )
    return splits


def _check_disjoint(sets: Mapping[str, AuditSet], datasets: Mapping[str, Dataset], allow_overlap: bool) -> None:
    """Nothing that had to go is in a set that had not."""
    must_go = [name for name, found in sets.items() if found.role == "forget"]
    for gone in must_go:
        for other in datasets:
            if other not in must_go:
                label = other if gone == "forget" else f"{other} (against {gone})"
                check_disjoint(datasets[gone], datasets[other], allow_overlap=allow_overlap, name=label)


def _examples(name: str, dataset: Dataset, given: DataLike | None) -> Dataset | None:
    """In-context examples, opened and checked.

    Raises:
        ValueError: They are no questions with answers, or questions of the set itself.
    """
    if given is None:
        return None
    with about(f"{name}, in-context examples"):
        shots = load_data(given)
        for place, rows in (("they", shots), ("the rows that they are for", dataset)):
            if column_format(rows.column_names) != "question":
                raise ValueError(f"{place} have no question + answer, got {', '.join(rows.column_names)}.")
        own = set(dataset["question"]) & set(shots["question"])
        if own:
            raise ValueError(
                f"{len(own)} of them are questions of the set itself, whose answers the prompt would give away."
            )
    return shots


def _template(template: str | None, shots: Dataset | None) -> str | None:
    if shots is None:
        return template
    return with_examples(template or QUESTION_TEMPLATE, zip(shots["question"], shots["answer"], strict=True))


def _asked(name: str, given: AuditSet, shots: Dataset | None) -> dict[str, str | int]:
    found: dict[str, str | int] = {} if name in SPLITS else {"role": given.role}
    if given.metrics is not None:
        found["metrics"] = ",".join(given.metrics)
    if given.prompt_template is not None:
        found["prompt_template"] = given.prompt_template
    if shots is not None:
        found |= {"examples": len(shots), "examples_sha256": data_fingerprint(shots)}
    return found


def _names(metrics: Collection[str] | None) -> tuple[str, ...] | None:
    return None if metrics is None else tuple(metrics)


_TEXT_COLUMNS = {
    "answer": {"question": "answer", "completion": "completion"},
    "question": {"question": "question", "completion": "prompt"},
}
"""Where the text of an answer and of a question is, by the format of the rows."""


def _as_text(split: Split, tokenizer: PreTrainedTokenizerBase | None, what: str) -> tuple[str, ...] | None:
    """As the rows have it; where they have token ids or messages, as the tokenizer decodes the answer or the prompt."""
    column = _TEXT_COLUMNS[what].get(column_format(split.dataset.column_names))
    if column is not None and all(isinstance(text, str) for text in split.dataset[column]):
        return tuple(split.dataset[column])
    if tokenizer is None:
        return None
    answers = [[label for label in example["labels"] if label != IGNORE_INDEX] for example in split.examples]
    tokens = answers if what == "answer" else [list(prompt) for prompt in split.prompts]
    return tuple(text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True))


def subjects_of(dataset: Dataset, wanted: str | None) -> tuple[tuple[str, ...] | None, str | None]:
    """Whom each row is about, and the column that says so.

    Raises:
        ValueError: The column that was named is not there, or does not say it of every row.
    """
    if wanted is not None and wanted not in dataset.column_names:
        raise ValueError(f"there is no cluster column {wanted!r}; the columns are {', '.join(dataset.column_names)}.")
    known = [name for name in CLUSTER_COLUMNS if name in dataset.column_names]
    if column_format(dataset.column_names) == "choices":
        known = [name for name in known if name != "subject"]  # what is taught, as in MMLU, not whom a row is about
    column = wanted or next(iter(known), None)
    if column is None:
        return None, None
    values = tuple("" if value is None else str(value) for value in dataset[column])
    if "" in values:  # rows about nobody are not rows about the same
        if wanted is not None:
            raise ValueError(f"the cluster column {wanted!r} is empty in some rows.")
        return None, None
    return values, column


def _drawn(name: str, total: int, max_examples: int, seed: int) -> list[int]:
    chosen = np.random.default_rng(seed).choice(total, max_examples, replace=False)
    logger.info("using %d of %d %s examples, drawn with seed %d", max_examples, total, name, seed)
    return sorted(chosen.tolist())


def _chunked(
    name: str,
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_examples: int,
    seed: int,
    context: int | None,
    cluster_column: str | None,
) -> Split:
    chunks, origin = chunk_texts(dataset, tokenizer, max_tokens=min(CHUNK_TOKENS, context or CHUNK_TOKENS))
    total = len(chunks)
    kept = _drawn(name, total, max_examples, seed) if total > max_examples else list(range(total))
    examples = chunks.select(kept).to_list()
    prompts = tuple(map(tuple, prompt_token_ids(chunks.select(kept), tokenizer)))
    used = dataset.select(sorted({origin[at] for at in kept}))
    texts = tuple(dataset[origin[at]]["text"] for at in kept)
    subjects, column = subjects_of(dataset, cluster_column)
    mine = None if subjects is None else tuple(subjects[origin[at]] for at in kept)
    return Split(name, used, total, examples, prompts, texts, mine, column)


def longest_answer(splits: Mapping[str, Split]) -> int:
    """Enough for every answer in the data, end token included, within reason."""
    lengths = [
        sum(label != IGNORE_INDEX for label in example["labels"])
        for split in splits.values()
        for example in split.examples
    ]
    return min(max(lengths), MAX_NEW_TOKENS)
