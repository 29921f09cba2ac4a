"""Greedy answers as numbers per example, against the true ones."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pyarrow.compute as pc

from hf_unlearn.audit._contracts import Reading, Undefined
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible
from hf_unlearn.functional import Bootstrap, Estimate, Rouge, rouge_1, rouge_l


GENERATIONS = Reading("generations")
JUDGED_GENERATIONS = Reading("generations", frozenset({"original"}))


def rouge_l_recall_per_example(rows: Rows) -> np.ndarray:
    """Share of each true answer's words that the greedy answer has in the same order, shape `(examples,)`; NaN where the true one has none.

    Raises:
        Undefined: Answers were not generated, or are no text.
    """
    return per_example(
        rows, "rouge_l", lambda truth, given: _recall(rouge_l(truth, given, compatible=is_compatible(rows)))
    )


def rouge_1_recall_per_example(rows: Rows) -> np.ndarray:
    """The same, the order aside."""
    return per_example(
        rows, "rouge_1", lambda truth, given: _recall(rouge_1(truth, given, compatible=is_compatible(rows)))
    )


def per_example(
    rows: Rows, name: str, compare: Callable[[str, str], float | None], truths: Sequence[str] | None = None
) -> np.ndarray:
    """A number for each example's true and greedy answer, shape `(examples,)`; NaN where there is none.

    Args:
        rows: Of the subject.
        name: Under which it is remembered.
        compare: Of the true and the given text; None where they have no number.
        truths: What is true; default: the whole true answers.
    """

    def compute() -> np.ndarray:
        known: dict[tuple[str, str], float] = {}
        pairs = list(zip(truths or rows.texts, generated_texts(rows), strict=True))
        for pair in pairs:
            if pair not in known:
                known[pair] = or_nan(compare(*pair))
        return np.array([known[pair] for pair in pairs], np.float64)

    return rows.memo(("per example", name), compute)


def generated_texts(rows: Rows) -> list[str]:
    """The greedy answer to each example.

    Raises:
        Undefined: Answers were not generated, or are no text.
    """
    return list(rows.column("generations", "text"))


def generated_tokens(rows: Rows) -> list[list[int]]:
    """The greedy answer to each example in tokens, without the one that ended it."""
    table = rows.table("generations").select(["tokens", "truncated"])
    return [row["tokens"] if row["truncated"] else row["tokens"][:-1] for row in table.to_pylist()]


def judged(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """How unlikely each greedy answer is to the original, nats, and how many tokens it has, the end token included; shape `(examples,)`."""
    log_probs, lengths = rows.per_token("generations", "original_log_probs")
    starts = np.cumsum(lengths) - lengths
    return -np.add.reduceat(log_probs.astype(np.float64), starts), lengths.astype(np.float64)


class GenerationMetric(BaseMetric):
    """The mean over examples of what subclasses give for each; details say how many answers were cut or are empty.

    Attributes:
        lacking: What an example without a value lacks.
    """

    lacking: ClassVar[str] = "a word in the true answer"

    @abstractmethod
    def values(self, rows: Rows) -> np.ndarray:
        """Shape `(examples,)`; NaN where an example has none."""

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over the examples that have a value."""
        values = self.values(rows)
        if not np.isfinite(values).any():
            raise Undefined(f"no example has {self.lacking}")
        return mean_of(values, rows)

    def count(self, rows: Rows) -> int:
        """Examples that have a value."""
        return int(np.isfinite(self.values(rows)).sum())

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """What share of the answers was cut before its end, and what share is empty."""
        with_text = "text" in rows.table("generations").column_names
        said = [text.strip() for text in generated_texts(rows)] if with_text else generated_tokens(rows)
        empty = [not answer for answer in said]
        truncated = pc.mean(rows.table("generations").column("truncated")).as_py()
        return {"truncated": float(truncated), "empty": float(np.mean(empty))}

    def notes(self, rows: Rows) -> list[str]:
        """How many examples say nothing."""
        left_out = rows.count - self.count(rows)
        if not left_out:
            return []
        return [
            f"{self.spec.title}: {left_out} of {rows.count} {rows.split} examples have no value: they lack {self.lacking}."
        ]


def or_nan(value: float | None) -> float:
    """As numbers go into arrays: NaN where there is none."""
    return float("nan") if value is None else value


def _recall(found: Rouge | None) -> float:
    return or_nan(None if found is None else found.recall)
