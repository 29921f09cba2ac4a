"""Uncertainty of aggregates that others define: a function of all values of which only its outcome is known."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hf_unlearn.functional._estimates import Clusters, cluster_numbers, jackknife_estimate
from hf_unlearn.functional._uncertainty import Estimate


MOST_BLOCKS = 100
"""So many times at most an aggregate is computed again."""


def aggregate_estimate(
    items: Sequence[Any],
    aggregate: Callable[[Sequence[Any]], float],
    clusters: Clusters = None,
    *,
    scale: str = "plain",
    num_clusters: int | None = None,
    most: int = MOST_BLOCKS,
) -> Estimate:
    """Any smooth aggregate of items (a corpus BLEU, a correlation), with the jackknife's uncertainty over blocks of clusters.

    The aggregate is computed again without each block; with more than `most` clusters a block has several, dealt in turn, and estimates from the
    same clusters still have the same blocks, so that they stay paired. Not for medians and other kinks, where the jackknife is wrong.

    Args:
        items: What is aggregated, `rows` of them.
        aggregate: Of any of the items, to a number.
        clusters: Which items belong together, shape `(rows,)`; default: each by itself.
        scale: See `Estimate`.
        num_clusters: Of the whole set, as for `mean_estimate`: where only some of its clusters have items.
        most: Blocks.

    Returns:
        Influences of blocks; none where the aggregate has no finite value without one of them.

    Raises:
        ValueError: No items, or clusters that do not match them.

    Example:
        Of a mean it is the mean's own standard error: the values 1, 2, 6 have variance 7, and √(7/3) = 1.5275.

        >>> found = aggregate_estimate([1.0, 2.0, 6.0], lambda items: sum(items) / len(items))
        >>> found.value, round(found.standard_error, 4)
        (3.0, 1.5275)
    """
    if not len(items):
        raise ValueError("cannot aggregate an empty set of items.")
    value = float(aggregate(items))
    numbers, count = cluster_numbers(clusters, len(items), num_clusters)
    blocks = numbers % min(most, count)
    present = np.unique(blocks)
    without = np.full(min(most, count), value)
    for block in present if len(present) > 1 else ():
        without[block] = _without(items, aggregate, blocks == block)
    if len(present) < 2 or not np.isfinite(without).all():
        return Estimate(value, None, scale, len(present))
    return jackknife_estimate(value, without, [present], scale=scale)


def _without(items: Sequence[Any], aggregate: Callable[[Sequence[Any]], float], left_out: np.ndarray) -> float:
    try:
        return float(aggregate([item for item, out in zip(items, left_out, strict=True) if not out]))
    except (ValueError, ArithmeticError):
        return math.nan
