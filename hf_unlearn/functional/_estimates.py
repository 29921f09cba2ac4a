"""From rows to estimates: means, linearised statistics, areas under the curve. Knows numbers; no metric and no model.

Clusters (a person, a document, equal prompts) are the sampling units. Estimates made from the same clusters are paired: their
influences have one order, that of the sorted cluster names.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.stats import ks_2samp, rankdata

from hf_unlearn.functional._uncertainty import Estimate


Clusters: TypeAlias = Sequence | np.ndarray | None


def mean_estimate(
    values: np.ndarray, clusters: Clusters = None, *, scale: str = "plain", num_clusters: int | None = None
) -> Estimate:
    """The mean over rows, every row counting the same, with influences over clusters.

    Args:
        values: One per row (prompt, example), shape `(rows,)`.
        clusters: Which rows belong together (a person, a document, equal prompts), shape `(rows,)`; default: each row by itself.
        scale: See `Estimate`.
        num_clusters: Of the whole set, where only some of its clusters have rows here; `clusters` are then numbers below it, and those
            without rows have influence 0, so that estimates from different rows of one set stay paired. The standard error is that of
            the clusters with rows alone.

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
    mean = float(values.mean())
    return influence_estimate(mean, values - mean, clusters, scale=scale, num_clusters=num_clusters)


def influence_estimate(
    value: float,
    influence: np.ndarray,
    clusters: Clusters = None,
    *,
    scale: str = "plain",
    num_clusters: int | None = None,
) -> Estimate:
    """A linearised statistic: its value, and by how much each row moves it.

    Args:
        value: On all rows.
        influence: Of each row, shape `(rows,)`, mean 0: the value with row i counted cᵢ times is about value + Σ cᵢ influenceᵢ / rows.
            From leaving rows out it is (rows − 1)(mean of the values without one − value without row i).
        clusters: As for `mean_estimate`.
        scale: See `Estimate`.
        num_clusters: As for `mean_estimate`.

    Raises:
        ValueError: Clusters that do not match the rows.
    """
    influence = np.asarray(influence, np.float64)
    numbers, count = cluster_numbers(clusters, len(influence), num_clusters)
    sums, own = np.bincount(numbers, weights=influence, minlength=count), len(np.unique(numbers))
    return Estimate(float(value), sums * count / len(influence) * stratum_factor(own, count), scale, own)


def auc_estimate(positive: np.ndarray, negative: np.ndarray, clusters: Clusters = None) -> Estimate:
    """Probability that a positive row scores above a negative one, ties counting half, with DeLong's standard error.

    A row's influence is the share of the other set that it beats (DeLong et al. 1988), less the area.

    Args:
        positive: Scores, shape `(rows,)`.
        negative: Scores, shape `(others,)`.
        clusters: Of all rows, positive first, shape `(rows + others,)`; default: each by itself.

    Returns:
        In [0, 1]; 0.5 = not told apart. Influences over all clusters of both sets.

    Raises:
        ValueError: A set is empty, or clusters that do not match the rows.

    Example:
        Of six pairs four are won and one is tied: 4.5/6.

        >>> auc_estimate(np.array([3.0, 2.0]), np.array([1.0, 2.0, 2.5])).value
        0.75
    """
    positive, negative = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    if not len(positive) or not len(negative):
        raise ValueError(
            f"an area needs rows on both sides, got {len(positive)} positive and {len(negative)} negative."
        )
    ranks = rankdata(np.concatenate([positive, negative]))
    beaten = (ranks[: len(positive)] - rankdata(positive)) / len(negative)  # of each positive row
    beating = 1 - (ranks[len(positive) :] - rankdata(negative)) / len(
        positive
    )  # share of positives above each negative
    area = float(beaten.mean())
    numbers, count = cluster_numbers(clusters, len(ranks), None)
    sides = (numbers[: len(positive)], numbers[len(positive) :])
    factors, fewest = _factors(sides, count)
    influence = np.zeros(count)
    for side, placed in zip(sides, (beaten, beating), strict=True):
        influence += count / len(side) * np.bincount(side, weights=placed - area, minlength=count)
    return Estimate(area, influence * factors, "logit", fewest)


def jackknife_estimate(
    value: float, without: np.ndarray, sides: Sequence[np.ndarray], *, scale: str = "plain"
) -> Estimate:
    """A statistic of one or several sets, from what it is without each cluster.

    Args:
        value: On all rows.
        without: Without each cluster, shape `(clusters,)`.
        sides: The numbers of the clusters of each set's rows; sets that share no cluster are independent.
        scale: See `Estimate`.
    """
    factors, fewest = _factors(sides, len(without))
    influence = np.zeros(len(without))
    apart = [np.unique(side) for side in sides] if _are_apart(sides) else [np.arange(len(without))]
    for own in apart:
        influence[own] = (len(own) - 1) * (without[own].mean() - without[own]) * len(without) / len(own)
    return Estimate(float(value), influence * factors, scale, fewest)


def _are_apart(sides: Sequence[np.ndarray]) -> bool:
    distinct = np.concatenate([np.unique(side) for side in sides])
    return len(np.unique(distinct)) == len(distinct)


def _factors(sides: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, int]:
    """`stratum_factor` of each cluster, 1 where the sets share clusters; and how many clusters the smallest set has."""
    factors, own = np.ones(count), [np.unique(side) for side in sides]
    if _are_apart(sides):
        for numbers in own:
            factors[numbers] = stratum_factor(len(numbers), count)
    return factors, min(map(len, own))


def ks_estimate(one: np.ndarray, other: np.ndarray) -> Estimate:
    """The largest distance between two samples' cumulative shares, in [0, 1] (Kolmogorov-Smirnov).

    Without uncertainty: the statistic has a kink where the two populations are equal, which is the case of interest, and neither the
    bootstrap nor the jackknife is right there. What it means is read from its p-value.

    Example:
        >>> ks_estimate(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.5, 4.5])).value
        0.75
    """
    few = min(len(one), len(other))
    return Estimate(float(ks_2samp(one, other, method="asymp").statistic), None, "logit", few)


def clusters_by_content(items: Iterable[Hashable]) -> np.ndarray:
    """Which rows are about the same thing: equal items get one number, in order of their first appearance.

    Example:
        >>> clusters_by_content(["who?", "where?", "who?"]).tolist()
        [0, 1, 0]
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)


def cluster_numbers(clusters: Clusters, rows: int, num_clusters: int | None) -> tuple[np.ndarray, int]:
    """The number of each row's cluster, shape `(rows,)`, in the order of the sorted names, and how many clusters there are.

    Raises:
        ValueError: Not one for each row, or numbers that are not from 0 to `num_clusters` − 1.
    """
    if clusters is None:
        if num_clusters is not None:
            raise ValueError("num_clusters needs clusters: which of them does each row belong to?")
        return np.arange(rows), rows
    if len(clusters) != rows:
        raise ValueError(f"clusters must name one for each of the {rows} rows, got {len(clusters)}.")
    if num_clusters is None:
        names, numbers = np.unique(np.asarray(clusters), return_inverse=True)
        return numbers, len(names)
    numbers = np.asarray(clusters)
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 0 or numbers.max() >= num_clusters:
        raise ValueError(f"with num_clusters={num_clusters}, clusters must be numbers from 0 to {num_clusters - 1}.")
    return numbers, num_clusters


def stratum_factor(own: int, joint: int) -> float:
    """What influences of some of the clusters (those with rows, one of several independent sets) are multiplied with on the axis of all.

    The standard error divides by n(n − 1) of the joint axis, where each set must have its own n(n − 1).

    Example:
        >>> stratum_factor(10, 10)
        1.0
    """
    return float(np.sqrt(own / (own - 1) * (joint - 1) / joint)) if own > 1 else 1.0
