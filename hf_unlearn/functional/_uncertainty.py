"""Intervals for everything that is measured: studentised, paired, over clusters.

A statistic arrives as a value and the influence of each cluster on it (by how much the value would move if the cluster counted for more).
That covers means, ratios, differences between models and linearised statistics such as CKA alike, so that one bootstrap serves them all.
Knows numbers; no metric and no model.

Percentile intervals flatter: of nominal 95 % they held .64 to .77 with three prompts and .86 to .94 with thirty. The studentised interval (Efron
& Tibshirani 1993, section 12.5) compares each resample with its own standard error, which widens the side where the long tail is; where it is
narrower than Student's, that one is taken (it held .80 of shares near 1 and .88 of areas under the curve).
`tests/benchmarks/coverage.py` prints what both hold.

Pairing lies in the estimates: a difference has the difference of the influences, and its interval is found from that one vector. So
influences may be sorted before they are drawn, and no bound depends on the order of the clusters.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import t as student


Interval: TypeAlias = tuple[float, float]
NOTHING = 1e-13
"""Standard errors below this share of the value are rounding: nothing varies."""
FEWEST_CLUSTERS = 3
"""Below, there is no interval."""
MOST = 2.0
"""In units of Student's quantiles, what resampling may find: beyond that it has met its own limits, not the population's."""
FEW_CLUSTERS = 10
"""Below, an interval is given with a warning: it holds less than it says."""


@dataclass(frozen=True)
class _Scale:
    """Where a quantity is unbounded, so that an interval found there stays in the quantity's bounds."""

    forward: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    back: Callable[[float], float]
    bounds: tuple[float, float]


LOGIT = _Scale(
    lambda x: np.log(x) - np.log1p(-x),
    lambda x: 1 / (x * (1 - x)),
    lambda y: 1 / (1 + math.exp(-y)) if y >= 0 else math.exp(y) / (1 + math.exp(y)),
    (0.0, 1.0),
)
SCALES: Mapping[str, _Scale] = {
    "plain": _Scale(lambda x: x, lambda x: np.ones_like(x), lambda y: y, (-math.inf, math.inf)),
    # Distances.
    # A bound beyond e^230 (1e100) says nothing, and no report that holds it could be read back.
    "log": _Scale(np.log, lambda x: 1 / x, lambda y: math.exp(min(y, 230.0)), (0.0, math.inf)),
    # Shares and probabilities.
    "logit": LOGIT,
    # The same where the ends are reached by definition, not by chance.
    "clipped": LOGIT,
    # Relative changes of what is at least 0, in per cent.
    "change": _Scale(
        lambda x: np.log1p(x / 100),
        lambda x: 1 / (100 + x),
        lambda y: 100 * math.expm1(min(y, 230.0)),
        (-100.0, math.inf),
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
            `value + Σ cᵢ influenceᵢ / clusters`, exactly for means over clusters of equal size, to first order otherwise. None: the value
            comes without uncertainty (a principal direction), and what is made from it has none either.
        scale: Of `SCALES`: where its interval is found. "plain", "log" (distances), "logit" (shares), "clipped" (shares that
            are clipped), "change" (per cent by which something from 0 on has changed), "fisher" (cosines).
        num_clusters: Those that have rows, of the smallest set where several sets are put together; what is called "few" goes by it.
            Default: all of `influence`.
        unseen: How far below and above its value it may be for reasons that no influence shows; default: see `Bootstrap.unseen`.
    """

    value: float
    influence: np.ndarray | None
    scale: str = "plain"
    num_clusters: int = 0
    unseen: Interval | None = None

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"unknown scale {self.scale!r}; choose one of {', '.join(SCALES)}.")
        if not math.isfinite(self.value) or (self.influence is not None and not np.isfinite(self.influence).all()):
            raise ValueError("an estimate and its influences must be finite numbers.")
        if self.influence is not None and not self.num_clusters:
            object.__setattr__(self, "num_clusters", len(self.influence))

    @property
    def standard_error(self) -> float:
        """Over clusters as the sampling units; NaN with fewer than two, or without influences."""
        if self.influence is None or len(self.influence) < 2:
            return math.nan
        count = len(self.influence)
        return math.sqrt(float((self.influence**2).sum()) / (count * (count - 1)))

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference, paired: both must speak about the same clusters in the same order."""
        return self._with(other, self.value - other.value, (1.0, -1.0))

    def over(self, other: "Estimate") -> "Estimate":
        """The ratio, paired.

        Raises:
            ZeroDivisionError: The other value is 0.
        """
        ratio = self.value / other.value
        return self._with(other, ratio, (1 / other.value, -ratio / other.value))

    def _with(self, other: "Estimate", value: float, slopes: tuple[float, float]) -> "Estimate":
        return combined(value, [self, other], slopes)


def combined(value: float, estimates: Sequence[Estimate], slopes: Sequence[float], scale: str = "plain") -> Estimate:
    """A function of estimates over the same clusters, from its value and its slopes at theirs (the delta method).

    Raises:
        ValueError: The estimates do not have the same number of clusters.
    """
    influences = [estimate.influence for estimate in estimates if estimate.influence is not None]
    few = min(estimate.num_clusters for estimate in estimates)
    if len(influences) < len(estimates):
        return Estimate(value, None, scale, few)
    lengths = {len(influence) for influence in influences}
    if len(lengths) > 1:
        raise ValueError(
            f"estimates over {sorted(lengths)} clusters cannot be paired; put those of different sets on one axis with `independent`."
        )
    return Estimate(value, np.sum([k * part for k, part in zip(slopes, influences, strict=True)], axis=0), scale, few)


def few_clusters_note(num_clusters: int) -> str | None:
    """What a reader must know about an interval over so few clusters; None where there is nothing to say.

    Example:
        >>> few_clusters_note(10) is None
        True
        >>> few_clusters_note(4)
        'over 4 independent prompts an interval holds less than it says'
    """
    if num_clusters < FEWEST_CLUSTERS:
        return f"{num_clusters} independent prompts are too few for an interval"
    if num_clusters < FEW_CLUSTERS:
        return f"over {num_clusters} independent prompts an interval holds less than it says"
    return None


@dataclass(frozen=True)
class Bootstrap:
    """How uncertainty is found.

    Bounds depend on the influences alone, not on their order; those of a statistic with the sign turned are the same with the sign turned
    (for an even number of resamples).

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
        """The studentised bootstrap interval; None below `FEWEST_CLUSTERS` clusters, or without influences.

        On the scale, with quantiles from Student's up to `MOST` times Student's; from `FEW_CLUSTERS` down to `FEWEST_CLUSTERS` clusters less and
        less of that is allowed, at last Student's alone, so that no single prompt turns an interval. A value at the end of its scale (a share of
        exactly 0 or 1, a distance of 0) has a plain interval, cut at the bounds. Where all clusters agree it is a point; but of a share of 0 or
        1 what as many prompts may have missed.
        """
        return self.intervals([estimate])[0]

    def intervals(self, estimates: Sequence[Estimate]) -> list[Interval | None]:
        """`interval` of each; many at once cost little more than one."""
        found: list[Interval | None] = [None] * len(estimates)
        alike: dict[tuple[int, str], list[int]] = {}
        for at, estimate in enumerate(estimates):
            if estimate.influence is None or estimate.num_clusters < FEWEST_CLUSTERS:
                continue
            if not estimate.standard_error > NOTHING * abs(estimate.value):
                low, high = self.unseen(estimate)
                found[at] = (estimate.value + low, estimate.value + high)
                continue
            low, high = SCALES[estimate.scale].bounds
            scale = estimate.scale if low < estimate.value < high else "plain"
            alike.setdefault((len(estimate.influence), scale), []).append(at)
        for (_, name), group in alike.items():
            for start in range(0, len(group), 128):
                part = group[start : start + 128]
                for at, (low, high) in zip(
                    part, self._alike([estimates[at] for at in part], SCALES[name]), strict=True
                ):
                    bounds, (below, above) = SCALES[estimates[at].scale].bounds, self.unseen(estimates[at])
                    found[at] = (max(bounds[0], low + below), min(bounds[1], high + above))
        return found

    def unseen(self, estimate: Estimate) -> Interval:
        """How far below and above its value a share may be that is 0 or 1 in all clusters; what an estimate itself says; else (0, 0).

        That all prompts are hits does not say that all others would be: Clopper and Pearson's bound.

        Example:
            >>> low, high = Bootstrap().unseen(Estimate(1.0, np.zeros(10), "logit"))
            >>> round(low, 4), high
            (-0.3085, 0.0)
        """
        if estimate.unseen is not None:
            return estimate.unseen
        varies = estimate.influence is None or estimate.standard_error > NOTHING
        if estimate.scale != "logit" or varies or 0 < estimate.value < 1:
            return 0.0, 0.0
        share = 1 - ((1 - self.confidence) / 2) ** (1 / estimate.num_clusters)
        return (0.0, share) if estimate.value <= 0 else (-share, 0.0)

    def _alike(self, estimates: Sequence[Estimate], scale: _Scale) -> list[Interval]:
        """Of estimates with equally many clusters, inside the bounds of the scale."""
        values = np.array([estimate.value for estimate in estimates])
        errors = np.array([estimate.standard_error for estimate in estimates])
        influence = np.stack([estimate.influence for estimate in estimates if estimate.influence is not None], 1)
        statistic = self._statistics(values, errors, influence, scale)
        tail = (1 - self.confidence) / 2
        centre, error = scale.forward(values), errors * scale.slope(values)
        # A resample of one cluster over and over has no standard error, so nothing to compare with: NaN.
        quantile = np.nanquantile if np.isnan(statistic).any() else np.quantile
        low, high = quantile(statistic, [tail, 1 - tail], axis=0)
        # Linearised, a statistic near its bound looks more certain than it is; Student's quantiles are the least.
        counts = np.array([estimate.num_clusters for estimate in estimates])
        least = student.ppf(1 - tail, counts - 1)
        # Resamples of few clusters of unequal weight are often one cluster over and over, and their quantiles know no end.
        enough = np.clip((counts - FEWEST_CLUSTERS) / (FEW_CLUSTERS - FEWEST_CLUSTERS), 0, 1)
        most = least * (1 + (MOST - 1) * enough)
        low, high = np.clip(low, -most, -least), np.clip(high, least, most)
        return [
            (scale.back(below), scale.back(above))
            for below, above in zip((centre - high * error).tolist(), (centre - low * error).tolist(), strict=True)
        ]

    def _statistics(self, values: np.ndarray, errors: np.ndarray, influence: np.ndarray, scale: _Scale) -> np.ndarray:
        """(Resample − value) / standard error of the resample, on the scale; shape `(num_resamples, statistics)`."""
        count = len(influence)
        # In units of the standard error, so that squares neither vanish nor overflow.
        columns = np.sort(influence, axis=0) / errors
        sums = [block @ np.concatenate([columns, columns**2], 1) for block in self._draws(count)]
        moved, squares = np.split(np.concatenate(sums) / count, 2, axis=1)
        spread = np.sqrt(np.maximum(squares - moved**2, 0.0) / (count - 1))
        spread[spread < 1e-9] = np.nan
        drawn, low, high = values + errors * moved, *scale.bounds
        inside = (drawn > low) & (drawn < high)
        drawn = np.where(inside, drawn, values)
        on_scale = (scale.forward(drawn) - scale.forward(values)) / (errors * scale.slope(drawn))
        # Linearised, a resample can leave the bounds, where the scale does not reach.
        return np.where(inside, on_scale, moved) / spread

    def _draws(self, clusters: int) -> Iterator[np.ndarray]:
        """How often each cluster, by rank, is in a resample: blocks `(resamples, clusters)` of at most 8 MiB, one after the other."""
        size = max(2, (1 << 20) // clusters) // 2 * 2
        starts = range(0, self.num_resamples, size)
        return (_counts(clusters, min(size, self.num_resamples - start), self.seed, start) for start in starts)


@lru_cache(maxsize=8)
def _counts(clusters: int, resamples: int, seed: int, block: int) -> np.ndarray:
    """Draws and their mirror images: where one takes the lowest cluster, another takes the highest as often (antithetic resampling)."""
    generator = np.random.default_rng([seed, block])
    drawn = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=(resamples + 1) // 2)
    return np.concatenate([drawn, drawn[:, ::-1]])[:resamples].astype(np.float64)
