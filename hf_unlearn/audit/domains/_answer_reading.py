"""What models say of given answers: the true ones of a set, and others to the same questions; both in one pass where that reads questions once."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from weakref import WeakKeyDictionary

import pyarrow as pa

from hf_unlearn.audit._contracts import Reading, SubjectKey, Task
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.audit.domains._layers import PATCHED, LayerFacts
from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.config import AuditConfig
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import Example, FeatureSettings, NoHiddenStatesError, answer_tables


OTHERS, GENERATED = "variants", "generations"
TOGETHER_VERSION = 1
"""Of both readings in one; counted up whenever equal models and answers would leave other rows."""


class AnswerReader:
    """Tasks of the readings "answers" and "variants".

    Args:
        layers: What is known of the models' layers.
        features: How hidden states are pooled.
        store: Where both readings are kept that are taken in one.
    """

    def __init__(self, layers: LayerFacts, features: FeatureSettings, store: EvidenceStore):
        self._layers, self._features, self._store = layers, features, store
        self._read: dict[tuple[SubjectKey, str], tuple[LoadedSubject, pa.Table]] = {}
        """By role and set, true and other answers, and who was read: until the other answers have been asked for."""
        self._correct: WeakKeyDictionary[LoadedSubject, dict[str, list[list[bool]]]] = WeakKeyDictionary()
        """By subject and set, which tokens of the true answers are the first choice."""

    def answers(self, reading: Reading, subject: LoadedSubject, split: Split, config: AuditConfig) -> Task:
        """The true answers: every column of `answer_tables`."""
        wants_features = "features" in reading.parts and self._layers.follow(subject)
        lens = range(min(PATCHED, len(split))) if "lens" in reading.parts and wants_features else range(0)
        cost = count_tokens(split.examples)

        def seen(table: pa.Table) -> None:
            if GENERATED in reading.beside:
                correct = table.column("correct").to_pylist()
                self._correct.setdefault(subject, {})[split.name] = correct

        if split.variants and OTHERS in reading.beside and not wants_features:

            def part(items: Sequence[int]) -> Iterable[pa.Table]:
                self._read[subject.key, split.name] = (subject, self._together(subject, split, config))
                return [self._read[subject.key, split.name][1].slice(0, len(split))]

            return Task((), len(split), part, cost=cost, kept=False, seen=seen)

        def compute(items: Sequence[int]) -> Iterable[pa.Table]:
            take = partial(
                answer_tables,
                subject.view,
                split.examples,
                items=items,
                batch_size=config.batch_size,
                progress=config.progress,
                label=f"answers {split.name} {subject.key}",
            )
            try:
                yield from take(features=self._features if wants_features else None, lens=lens)
            except NoHiddenStatesError as error:
                self._layers.skip(str(error).removesuffix("."))
                yield from take()

        key = (split.examples, self._features if wants_features else None, list(lens))
        return Task((subject.fingerprint, *key), len(split), compute, cost=cost, seen=seen)

    def said(self, subject: LoadedSubject, split: Split) -> list[list[int]] | None:
        """How the subject's greedy answer to each prompt begins: with the true answer, as far as that is its first choice. None where the true
        answers were not read."""
        found = self._correct.get(subject, {}).get(split.name)
        return None if found is None else list(map(_beginning, split.prompts, split.examples, found))

    def variants(self, reading: Reading, subject: LoadedSubject, split: Split, config: AuditConfig) -> Task | None:
        """Other answers: `log_probs`, the `example` that each is an answer to, and whether it `is_wrong`."""
        if not split.variants:
            return None
        examples = [variant.tokens for variant in split.variants]
        known = self._read.get((subject.key, split.name))
        if known is not None and known[0] is subject:

            def part(items: Sequence[int]) -> Iterable[pa.Table]:
                table = self._read.pop((subject.key, split.name))[1].slice(len(split)).drop_columns("item")
                return [_described(table.append_column("item", pa.array(range(len(examples)), pa.int64())), split)]

            return Task((), len(examples), part, kept=False)

        def compute(items: Sequence[int]) -> Iterator[pa.Table]:
            tables = answer_tables(
                subject.view,
                examples,
                items=items,
                statistics=False,
                batch_size=config.batch_size,
                progress=config.progress,
                label=f"other answers {split.name} {subject.key}",
            )
            return (_described(table, split) for table in tables)

        places = [(variant.example, variant.is_wrong) for variant in split.variants]
        return Task((subject.fingerprint, examples, places), len(examples), compute, cost=count_tokens(examples))

    def _together(self, subject: LoadedSubject, split: Split, config: AuditConfig) -> pa.Table:
        """True answers, then the others."""
        examples = [*split.examples, *(variant.tokens for variant in split.variants)]

        def compute(items: Sequence[int]) -> Iterable[pa.Table]:
            return answer_tables(
                subject.view,
                examples,
                items=items,
                statistics=range(len(split)),
                batch_size=config.batch_size,
                progress=config.progress,
                label=f"all answers {split.name} {subject.key}",
            )

        key = content_key("answers+variants", TOGETHER_VERSION, subject.fingerprint, examples, len(split))
        label = f"answers+variants-{split.name}-{subject.key}"
        return self._store.table(label, key, len(examples), compute)


def _described(table: pa.Table, split: Split) -> pa.Table:
    chosen = [split.variants[item] for item in table.column("item").to_pylist()]
    table = table.select(["item", "log_probs"])
    table = table.append_column("example", pa.array([variant.example for variant in chosen], pa.int64()))
    return table.append_column("is_wrong", pa.array([variant.is_wrong for variant in chosen], pa.bool_()))


def _beginning(prompt: Sequence[int], example: Example, correct: Sequence[bool]) -> list[int]:
    """The answer's tokens up to the first that is not the first choice, or that does not follow on the one before."""
    ids, labels = example["input_ids"], example["labels"]
    if list(ids[: len(prompt)]) != list(prompt):
        return []
    found: list[int] = []
    for token, label, is_first in zip(ids[len(prompt) :], labels[len(prompt) :], correct, strict=False):
        if label == IGNORE_INDEX or not is_first:
            break
        found.append(token)
    return found if all(label == IGNORE_INDEX for label in labels[: len(prompt)]) else []


def count_tokens(examples: Sequence[Example]) -> int:
    """Of all sequences together."""
    return sum(len(example["input_ids"]) for example in examples)
