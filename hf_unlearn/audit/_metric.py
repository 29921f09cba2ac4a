"""What metrics share: details and counts beside their estimate, and the way from a function to a metric."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_unlearn.audit._contracts import MetricSpec, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.functional import Bootstrap, Estimate, mean_estimate


MIN_EXAMPLES = 5
"""Fewer say nothing about hidden states."""


class BaseMetric(ABC):
    """A metric; subclasses give `spec` and the value."""

    spec: MetricSpec

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "BaseMetric":
        """The metric as the options of an audit want it."""
        return cls()

    @abstractmethod
    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The value of one subject on one split.

        Raises:
            Undefined: There is none here; says why.
        """

    def count(self, rows: Rows) -> int:
        """Examples behind the value."""
        return rows.count

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Further numbers of the candidate that belong to the value."""
        return {}

    def details_over_layers(
        self, rows: Rows, by_layer: Mapping[int, Mapping[str, float]], uncertainty: Bootstrap
    ) -> dict[str, float]:
        """The same of a metric by layer as a whole; by default the mean over the layers that have them."""
        names = dict.fromkeys(name for details in by_layer.values() for name in details)
        return {name: float(np.mean([d[name] for d in by_layer.values() if name in d])) for name in names}

    def notes(self, rows: Rows) -> list[str]:
        """What a reader of the report must know, in sentences."""
        return []


@dataclass(frozen=True)
class FunctionMetric(BaseMetric):
    """A metric from a function of rows that gives one value per example, whose mean over examples is the metric.

    Attributes:
        spec: What it is.
        per_example: Gives shape `(examples,)`; NaN where an example has no value.
    """

    spec: MetricSpec
    per_example: Callable[[Rows], np.ndarray]

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over the examples that have a value."""
        return mean_of(self._values(rows), rows)

    def count(self, rows: Rows) -> int:
        """Examples that have a value."""
        return int(np.isfinite(self._values(rows)).sum())

    def _values(self, rows: Rows) -> np.ndarray:
        """One number per example.

        Raises:
            TypeError: The function does not give that.
            ValueError: It gives one that is infinite.
        """
        try:
            values = np.asarray(self.per_example(rows), np.float64)
        except ValueError as error:
            raise TypeError(f"the metric {self.spec.name!r} must give one number per example: {error}") from error
        if values.shape != (rows.count,):
            raise TypeError(
                f"the metric {self.spec.name!r} must give one number per example, shape ({rows.count},) on the {rows.split} set; it gave shape "
                f"{values.shape}."
            )
        if np.isinf(values).any():
            raise ValueError(
                f"the metric {self.spec.name!r} gives infinite values; NaN says that an example has none."
            )
        return values


def mean_of(values: np.ndarray, rows: Rows, scale: str = "plain") -> Estimate:
    """The mean over examples that have a value, over the clusters of the split.

    Args:
        values: Shape `(examples,)`, the first examples of the split; NaN = none.
        rows: Of the subject.
        scale: See `functional.Estimate`.

    Raises:
        Undefined: No example has a value.
    """
    defined = np.isfinite(values)
    if not defined.any():
        raise Undefined("no example has a value")
    clusters = rows.clusters[: len(values)][defined]
    # Roles may have values for different examples, and are paired by cluster all the same.
    return mean_estimate(values[defined], clusters, scale=scale, num_clusters=int(rows.clusters.max()) + 1)


def require_examples(rows: Rows) -> None:
    """Hidden states of a handful of examples say nothing.

    Raises:
        Undefined: Says how many are needed.
    """
    if rows.count < MIN_EXAMPLES:
        raise Undefined(f"{rows.count} {rows.split} examples are too few, {MIN_EXAMPLES} are needed")
