"""Functions of estimates: differences between sets, harmonic means, anything smooth (the delta method).

Knows estimates; no metric and no model.
"""

from collections.abc import Callable, Sequence

import numpy as np

from hf_unlearn.functional._estimates import stratum_factor
from hf_unlearn.functional._uncertainty import Estimate, combined


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of estimates over the same clusters (layers, twins), on the scale of the first."""
    share = 1 / len(estimates)
    value = float(np.mean([estimate.value for estimate in estimates]))
    return combined(value, estimates, [share] * len(estimates), estimates[0].scale)


def function_of(
    estimates: Sequence[Estimate],
    function: Callable[..., float],
    *,
    gradient: Sequence[float] | None = None,
    scale: str = "plain",
) -> Estimate:
    """A smooth function of estimates over the same clusters.

    Args:
        estimates: Its arguments, in order; of different sets: `independent` puts them on one axis.
        function: Takes as many numbers; smooth within a standard error of the values.
        gradient: Its slopes at the values; default: central differences.
        scale: Of the result.

    Returns:
        The function's value; its influence is the sum of the arguments' times the slopes.

    Raises:
        ValueError: The estimates do not have the same number of clusters, or the function or its slopes are not finite.

    Example:
        The product of 2 and 3 has slopes 3 and 2.

        >>> a, b = Estimate(2.0, np.array([-1.0, 1.0])), Estimate(3.0, np.array([0.5, -0.5]))
        >>> found = function_of([a, b], lambda x, y: x * y)
        >>> found.value, found.influence.round(6).tolist()
        (6.0, [-2.0, 2.0])
    """
    values = [estimate.value for estimate in estimates]
    slopes = list(gradient) if gradient is not None else [_slope(function, values, at) for at in range(len(values))]
    if not np.isfinite(slopes).all():
        raise ValueError(f"the function has no finite slopes at {values}, got {slopes}.")
    return combined(float(function(*values)), estimates, slopes, scale)


def harmonic_mean(estimates: Sequence[Estimate], *, scale: str = "logit") -> Estimate:
    """k / Σ 1/x over the same clusters; 0 where one of them is 0.

    Raises:
        ValueError: A value is negative, where the mean has no meaning.

    Example:
        >>> round(harmonic_mean([Estimate(0.8, None), Estimate(0.9, None)]).value, 6)
        0.847059
    """
    values = np.array([estimate.value for estimate in estimates])
    if (values < 0).any():
        raise ValueError(f"a harmonic mean needs values from 0 on, got {values.tolist()}.")
    if (values == 0).any():
        # Beside a single 0 the mean is k times that value; beside several it has no slope that is defined.
        slopes = np.where(values == 0, len(values) if (values == 0).sum() == 1 else 0, 0)
        return combined(0.0, estimates, slopes.tolist(), scale)
    mean = len(values) / float((1 / values).sum())
    return combined(mean, estimates, (mean**2 / (len(values) * values**2)).tolist(), scale)


def independent(*estimates: Estimate) -> list[Estimate]:
    """Estimates over different sets of clusters (forget, retain), on one axis: all clusters of the first, then of the second, and so on.

    Each keeps its value, its scale and its standard error, and is moved by its own clusters only.

    Example:
        Means of {1, 3} and {4, 4, 10}: standard errors 1 and 2, so that of the difference is √5.

        >>> from hf_unlearn.functional import mean_estimate
        >>> one, other = independent(mean_estimate(np.array([1.0, 3.0])), mean_estimate(np.array([4.0, 4.0, 10.0])))
        >>> round(one.minus(other).standard_error ** 2, 12)
        5.0
    """
    return [moved for (moved,) in independent_sets([[estimate] for estimate in estimates])]


def independent_sets(sets: Sequence[Sequence[Estimate]]) -> list[list[Estimate]]:
    """`independent` where there are several estimates of each set, which stay paired with each other.

    Args:
        sets: Of each set its estimates, over the same clusters.

    Raises:
        ValueError: Estimates of one set over different numbers of clusters.

    Example:
        Twice the same mean of {1, 3}, and one of {4, 4, 10}: the first two differ by nothing, and certainly.

        >>> from hf_unlearn.functional import mean_estimate
        >>> one, other = mean_estimate(np.array([1.0, 3.0])), mean_estimate(np.array([4.0, 4.0, 10.0]))
        >>> (first, second), (third,) = independent_sets([[one, one], [other]])
        >>> first.minus(second).standard_error, round(third.minus(second).standard_error ** 2, 12)
        (0.0, 5.0)
    """
    sizes = []
    for own in sets:
        known = {len(estimate.influence) for estimate in own if estimate.influence is not None}
        if len(known) > 1:
            raise ValueError(f"estimates of one set must be over the same clusters, got {sorted(known)} of them.")
        sizes.append(known.pop() if known else 0)
    joint, before, found = sum(sizes), 0, []
    for own, size in zip(sets, sizes, strict=True):
        moved = []
        for estimate in own:
            influence = None
            if estimate.influence is not None:
                influence = np.zeros(joint)
                influence[before : before + size] = estimate.influence * joint / size * stratum_factor(size, joint)
            moved.append(Estimate(estimate.value, influence, estimate.scale, estimate.num_clusters))
        found.append(moved)
        before += size
    return found


def _slope(function: Callable[..., float], values: list[float], at: int) -> float:
    step = 6e-6 * max(abs(values[at]), 1e-3)  # the cube root of float64's precision

    def moved(by: float) -> float:
        return float(function(*values[:at], values[at] + by, *values[at + 1 :]))

    return (moved(step) - moved(-step)) / (2 * step)
