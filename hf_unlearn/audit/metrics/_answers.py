"""Per-token readings of answers as numbers per answer, and metrics that are means of them."""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.functional import Bootstrap, Estimate


class MeanOverExamples(BaseMetric):
    """A metric whose value is the mean of one number per example; subclasses give the numbers.

    Attributes:
        scale: Of its interval, see `functional.Estimate`; "plain" = by the bounds of the spec.
    """

    scale = "plain"

    @abstractmethod
    def per_example(self, rows: Rows) -> np.ndarray:
        """Shape `(examples,)`; NaN where an example has no value.

        Raises:
            Undefined: No example has one; says why.
        """

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over the examples that have a value.

        Raises:
            Undefined: None has, or one has an infinite one.
        """
        values = self.values(rows)
        if np.isinf(values).any():
            raise Undefined(f"{int(np.isinf(values).sum())} examples have an infinite value: no mean holds them")
        return mean_of(values, rows, self.scale)

    def count(self, rows: Rows) -> int:
        """Examples that have a value."""
        return int(np.isfinite(self.values(rows)).sum())

    def values(self, rows: Rows) -> np.ndarray:
        """`per_example`, computed once."""
        return rows.memo(("values", self.spec.name), lambda: self.per_example(rows))


def is_compatible(rows: Rows) -> bool:
    """Whether the audit asks for what the field's common implementation computes."""
    return bool(rows.settings.get("compatible", False))


def mean_log_probs(rows: Rows, reading: str = "answers") -> np.ndarray:
    """Mean token log-probability of each answer, nats per token, shape `(items,)`.

    Raises:
        Undefined: The reading was not taken, or holds NaN.
    """
    return log_probs(rows, reading) / rows.per_token(reading, "log_probs")[1]


def log_probs(rows: Rows, reading: str = "answers") -> np.ndarray:
    """Log-probability of each whole answer, nats, shape `(items,)`.

    Raises:
        Undefined: The reading was not taken, or holds NaN.
    """
    values, lengths = rows.per_token(reading, "log_probs")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    sums = np.add.reduceat(values.astype(np.float64), starts)
    broken = int(np.isnan(sums).sum())
    if broken:
        raise Undefined(
            f"the {rows.subject} gives NaN in place of log-probabilities of {broken} of {len(sums)} answers ({reading} of the {rows.split} "
            "set): its weights or its precision are broken"
        )
    return sums


def of_correct(rows: Rows, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
    """A statistic of which tokens of each answer are the first choice, shape `(items,)`.

    Raises:
        Undefined: The reading was not taken, or holds NaN, of which nothing is the first choice: the model would seem to have forgotten.
    """
    if "log_probs" in rows.table("answers").column_names:
        log_probs(rows)
    correct, lengths = rows.per_token("answers", "correct")
    return np.array([statistic(part) for part in np.split(correct, np.cumsum(lengths)[:-1])], np.float64)
