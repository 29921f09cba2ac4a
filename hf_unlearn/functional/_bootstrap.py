"""Uncertainty: cluster bootstrap, percentile intervals, and where a value lies between floor and start."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np


BLOCK = 1 << 22
"""Counts of clusters held at once: below 32 MiB however many clusters there are."""


@dataclass(frozen=True)
class Relative:
    """Where a value lies between floor and start.

    Attributes:
        value: 0 = as good as retraining, 1 = as if nothing had been unlearned, above 1 = worse than doing nothing, below 0 =
            closer to the reference than the twin is. None where it has no meaning.
        confidence_interval: Percentile bootstrap interval, or None where it was not asked for or is not bounded.
        reason: Why `value` or `confidence_interval` is None, else None.
    """

    value: float | None
    confidence_interval: tuple[float, float] | None = None
    reason: str | None = None


def clusters_by_content(items: Iterable[Hashable]) -> np.ndarray:
    """Which rows are about the same thing: equal items get one number, in order of their first appearance.

    Example:
        >>> clusters_by_content(["who?", "where?", "who?"]).tolist()
        [0, 1, 0]
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)


def bootstrap_means(
    values: np.ndarray, *, clusters: np.ndarray | None = None, num_resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Means over rows when clusters of them (prompts, examples) are resampled as wholes.

    Args:
        values: Shape `(rows,)` or `(rows, quantities)`. The columns share their resamples, so that differences and ratios of
            quantities keep their dependence.
        clusters: The cluster of each row, numbered from 0 without gaps (`clusters_by_content`), shape `(rows,)`; default: each row is
            one. A mean is over the rows of the drawn clusters.
        num_resamples: How many resamples, at least 1.
        seed: Of the resampling.

    Returns:
        float64, shape `(num_resamples,)` or `(num_resamples, quantities)`.

    Raises:
        ValueError: No rows, no resamples, or clusters of another number of rows.

    Example:
        >>> bootstrap_means(np.array([2.0, 2.0, 2.0]), num_resamples=3)
        array([2., 2., 2.])
    """
    values = np.asarray(values, dtype=np.float64)
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}.")
    if values.shape[0] == 0:
        raise ValueError("cannot resample an empty set of clusters.")
    sums, sizes = _cluster_sums(values, clusters)
    generator = np.random.default_rng(seed)
    result = np.empty((num_resamples, *values.shape[1:]))
    block = max(1, BLOCK // len(sizes))
    for start in range(0, num_resamples, block):
        stop = min(start + block, num_resamples)
        counts = generator.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=stop - start)
        rows = counts @ sizes
        result[start:stop] = counts @ sums / rows.reshape(-1, *(1,) * (values.ndim - 1))
    return result


def _cluster_sums(values: np.ndarray, clusters: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Per cluster the sum of its rows and how many there are."""
    if clusters is None:
        return values, np.ones(len(values), np.int64)
    clusters = np.asarray(clusters)
    if clusters.shape != values.shape[:1]:
        raise ValueError(f"clusters must name one for each of the {len(values)} rows, got shape {clusters.shape}.")
    sizes = np.bincount(clusters)
    sums = np.zeros((len(sizes), *values.shape[1:]))
    np.add.at(sums, clusters, values)
    return sums, sizes


def percentile_interval(resamples: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float]:
    """The central interval that holds a share `confidence` of the resamples.

    Example:
        >>> percentile_interval(np.arange(101), confidence=0.5)
        (25.0, 75.0)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
    tail = (1 - confidence) / 2
    low, high = np.quantile(resamples, [tail, 1 - tail])
    return float(low), float(high)


def relative(
    value: float,
    *,
    floor: float,
    start: float,
    resamples: np.ndarray | None = None,
    confidence: float = 0.95,
    higher_is_better: bool = False,
) -> Relative:
    """(value − floor) / (start − floor): how much of what was to be unlearned is still there.

    Args:
        value: Of the candidate against the reference.
        floor: Of the twin against the reference.
        start: Of the original against the reference.
        higher_is_better: Whether the original is expected below the twin, as for similarities.
        resamples: Paired bootstrap means of (value, floor, start), shape `(num_resamples, 3)`, from `bootstrap_means`.
        confidence: Of the interval.

    Returns:
        0 = as good as retraining, 1 = as if nothing had been unlearned, above 1 = worse than doing nothing; None, with the
        reason, where start does not lie on the worse side of floor. The interval is None, with the reason, where resampling makes the
        denominator vanish in more than a few resamples, because it has no bounds then.

    Example:
        >>> relative(2.0, floor=1.0, start=5.0).value
        0.25
        >>> relative(2.0, floor=5.0, start=5.0).reason
        'start (5) does not lie above floor (5): either the original cannot be told from a retrained model on these data, or the twin is none'
    """
    if not all(np.isfinite([value, floor, start])):
        return Relative(None, reason=f"value ({value:g}), floor ({floor:g}) and start ({start:g}) must all be finite")
    side = -1.0 if higher_is_better else 1.0
    if side * start <= side * floor:
        reason = f"start ({start:g}) does not lie {'below' if higher_is_better else 'above'} floor ({floor:g})"
        return Relative(
            None,
            reason=f"{reason}: either the original cannot be told from a retrained model on these data, or the twin is none",
        )
    result = (value - floor) / (start - floor)
    if resamples is None:
        return Relative(result)
    distance = side * (resamples[:, 2] - resamples[:, 1])
    if np.mean(distance <= 0) > (1 - confidence) / 4:
        reason = "start and floor overlap under resampling, so the interval has no bounds: use more prompts or samples"
        return Relative(result, reason=reason)
    usable = distance > 0
    ratios = side * (resamples[usable, 0] - resamples[usable, 1]) / distance[usable]
    return Relative(result, percentile_interval(ratios, confidence=confidence))
