"""Intervals for everything that is measured: studentised, paired, over clusters.

A statistic arrives as a value and the influence of each cluster on it (by how much the value would move if the cluster counted for more).
That covers means, ratios, differences between models and linearised statistics such as CKA alike, so that one bootstrap serves them all.
Knows numbers; no metric and no model.

Percentile intervals flatter: of nominal 95 % they held .64 to .77 with three prompts and .86 to .94 with thirty. The studentised interval (Efron
& Tibshirani 1993, section 12.5) compares each resample with its own standard error, which widens the side where the long tail is;
`tests/benchmarks/coverage.py` prints what both hold. The audit's own intervals are still percentile intervals; they move here with its engine.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np


Interval: TypeAlias = tuple[float, float]
FEWEST_CLUSTERS = 3
"""Below, there is no interval."""
FEW_CLUSTERS = 10
"""Below, an interval is given with a warning: it holds less than it says."""


@dataclass(frozen=True)
class _Scale:
    """Where a quantity is unbounded, so that an interval found there stays in the quantity's bounds."""

    forward: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    back: Callable[[float], float]
    bounds: tuple[float, float]


SCALES: Mapping[str, _Scale] = {
    "plain": _Scale(lambda x: x, lambda x: np.ones_like(x), lambda y: y, (-math.inf, math.inf)),
    # Distances.
    "log": _Scale(np.log, lambda x: 1 / x, lambda y: math.exp(min(y, 700.0)), (0.0, math.inf)),
    # Shares and probabilities.
    "logit": _Scale(
        lambda x: np.log(x) - np.log1p(-x),
        lambda x: 1 / (x * (1 - x)),
        lambda y: 1 / (1 + math.exp(-y)) if y >= 0 else math.exp(y) / (1 + math.exp(y)),
        (0.0, 1.0),
    ),
    # Cosines and correlations.
    "fisher": _Scale(np.arctanh, lambda x: 1 / (1 - x**2), math.tanh, (-1.0, 1.0)),
}


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value, and what each cluster contributes to its uncertainty.

    Attributes:
        value: The statistic on all rows.
        influence: Of each cluster, float64, shape `(clusters,)`, mean 0: a resample in which cluster i occurs cᵢ times has the value
            `value + Σ cᵢ influenceᵢ / clusters`, exactly for means over clusters of equal size, to first order otherwise.
        scale: Of `SCALES`: where its interval is found. "plain", "log" (distances), "logit" (shares), "fisher" (cosines).
    """

    value: float
    influence: np.ndarray
    scale: str = "plain"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"unknown scale {self.scale!r}; choose one of {', '.join(SCALES)}.")
        if not math.isfinite(self.value) or not np.isfinite(self.influence).all():
            raise ValueError("an estimate and its influences must be finite numbers.")

    @property
    def standard_error(self) -> float:
        """Over clusters as the sampling units; NaN with fewer than two."""
        count = len(self.influence)
        return math.sqrt(float((self.influence**2).sum()) / (count * (count - 1))) if count > 1 else math.nan

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference, paired: both must speak about the same clusters in the same order."""
        return Estimate(self.value - other.value, self.influence - other.influence)

    def over(self, other: "Estimate") -> "Estimate":
        """The ratio, paired.

        Raises:
            ZeroDivisionError: The other value is 0.
        """
        ratio = self.value / other.value
        return Estimate(ratio, (self.influence - ratio * other.influence) / other.value)


def mean_estimate(
    values: np.ndarray, clusters: Sequence | np.ndarray | None = None, *, scale: str = "plain"
) -> Estimate:
    """The mean over rows, every row counting the same, with influences over clusters.

    Args:
        values: One per row (prompt, example), shape `(rows,)`.
        clusters: Which rows belong together (a person, a document, equal prompts), shape `(rows,)`; default: each row by itself.
        scale: See `Estimate`.

    Raises:
        ValueError: No rows, or clusters that do not match them.

    Example:
        Clusters {1, 3} and {8}: mean 4; influences (4 − 2·4)/1.5 = −2.667 and (8 − 4)/1.5 = 2.667, standard error 2.667.

        >>> found = mean_estimate(np.array([1.0, 3.0, 8.0]), ["a", "a", "b"])
        >>> found.value, found.influence.round(3).tolist(), round(found.standard_error, 3)
        (4.0, [-2.667, 2.667], 2.667)
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("cannot average an empty set of rows.")
    if clusters is None:
        sums, sizes = values, np.ones(len(values))
    else:
        if len(clusters) != len(values):
            raise ValueError(f"clusters must name one for each of the {len(values)} rows, got {len(clusters)}.")
        _, inverse = np.unique(np.asarray(clusters), return_inverse=True)
        sums, sizes = np.bincount(inverse, weights=values), np.bincount(inverse).astype(np.float64)
    mean = float(sums.sum() / sizes.sum())
    return Estimate(mean, (sums - sizes * mean) / sizes.mean(), scale)


@dataclass(frozen=True)
class Bootstrap:
    """How uncertainty is found; the same draws for every statistic on the same clusters, so that differences are paired.

    Attributes:
        confidence: Of the intervals.
        num_resamples: How many draws.
        seed: Of the draws.
    """

    confidence: float = 0.95
    num_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {self.confidence}.")
        if self.num_resamples < 1:
            raise ValueError(f"num_resamples must be at least 1, got {self.num_resamples}.")

    def interval(self, estimate: Estimate) -> Interval | None:
        """The studentised bootstrap interval; None below `FEWEST_CLUSTERS` clusters.

        A value at the end of its scale (a share of exactly 0 or 1, a distance of 0) has no interval but the point itself where all
        clusters agree, and a plain one, cut at the bounds, where they do not.
        """
        count = len(estimate.influence)
        if count < FEWEST_CLUSTERS:
            return None
        if not estimate.influence.any():
            return estimate.value, estimate.value
        scale = SCALES[estimate.scale]
        low, high = scale.bounds
        if not low < estimate.value < high:
            plain = self.interval(replace(estimate, scale="plain"))
            assert plain is not None
            return float(max(low, plain[0])), float(min(high, plain[1]))
        tails = self._tails(estimate, scale)
        centre = float(scale.forward(np.float64(estimate.value)))
        error = estimate.standard_error * float(scale.slope(np.float64(estimate.value)))
        return scale.back(centre - tails[1] * error), scale.back(centre - tails[0] * error)

    def _tails(self, estimate: Estimate, scale: _Scale) -> Interval:
        """Quantiles of (resample − value) / standard error of the resample, on the scale."""
        count = len(estimate.influence)
        columns = np.stack([estimate.influence, estimate.influence**2], 1)
        moved, squares = self._means(columns).T
        squares = squares - moved**2
        errors = np.sqrt(np.maximum(squares, 0.0) / (count - 1))
        values = estimate.value + moved
        low, high = scale.bounds
        margin = 1e-12 * max(1.0, abs(estimate.value))
        inside = np.clip(values, low + margin, high - margin)
        # A resample of one cluster over and over has no standard error, so nothing to compare with.
        usable = errors > 1e-9 * estimate.standard_error
        shift = scale.forward(inside[usable]) - scale.forward(np.float64(estimate.value))
        statistic = shift / (errors[usable] * scale.slope(inside[usable]))
        tail = (1 - self.confidence) / 2
        lower, upper = np.quantile(statistic, [tail, 1 - tail])
        return float(lower), float(upper)

    def _means(self, columns: np.ndarray) -> np.ndarray:
        """Means of resampled clusters, shape `(num_resamples, columns)`; counts are drawn in blocks of at most 32 MiB."""
        clusters = len(columns)
        generator = np.random.default_rng(self.seed)
        block = max(1, (1 << 22) // clusters)
        found = []
        for start in range(0, self.num_resamples, block):
            size = min(block, self.num_resamples - start)
            found.append(generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=size) @ columns)
        return np.concatenate(found) / clusters
