"""Where a candidate lies between another retraining and having done nothing: the same rule for every metric, by distance to the ideal.

Knows estimates in three roles; no metric and no model.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hf_unlearn.functional._uncertainty import Bootstrap, Estimate, Interval, combined


@dataclass(frozen=True)
class Comparison:
    """What the numbers of candidate, twin and original say together. Everything is paired: the same clusters are drawn for all.

    d is the distance to the ideal.

    Attributes:
        intervals: Of each role's own value.
        over_floor: Of d(candidate) − d(twin); above 0 = further than another retraining is, around 0 = not distinguishable from one.
        start_over_floor: Of d(original) − d(twin). Where it reaches 0 the original itself cannot be told from a retraining, so that these
            rows cannot tell whether anything was forgotten.
        relative: (d(candidate) − d(twin)) / (d(original) − d(twin)): 0 = as good as retraining, 1 = as if nothing had been unlearned,
            above 1 = worse than doing nothing, below 0 = closer to the ideal than the twin. None where it has no meaning.
        relative_interval: Of `relative`; None where it is not bounded.
        reason: Why `relative` or its interval is None, else None.
    """

    intervals: Mapping[str, Interval | None]
    over_floor: Interval | None = None
    start_over_floor: Interval | None = None
    relative: float | None = None
    relative_interval: Interval | None = None
    reason: str | None = None


def compare(
    estimates: Mapping[str, Estimate], *, ideal: float | Estimate | None = 0.0, bootstrap: Bootstrap | None = None
) -> Comparison:
    """Compare a metric's values under candidate, twin and original.

    Args:
        estimates: By role, over the same clusters in the same order; "candidate" is there, "twin" and "original" may be.
        ideal: What the metric would be if the candidate were the retrained model: a number, or an estimate (the reference's own value);
            None = the metric has no better side.
        bootstrap: How uncertainty is found.

    Returns:
        See `Comparison`.

    Raises:
        ValueError: There is no candidate.

    Example:
        A progress of 2 overshoots the ideal 1 by as much as the original (0) falls short of it.

        >>> import numpy as np
        >>> at = lambda value: Estimate(value, np.zeros(4))
        >>> compare({"candidate": at(2.0), "twin": at(0.8), "original": at(0.0)}, ideal=1.0).relative
        1.0
    """
    if "candidate" not in estimates:
        raise ValueError(f"there is no candidate among {sorted(estimates)}.")
    bootstrap = bootstrap or Bootstrap()
    intervals = {role: bootstrap.interval(estimate) for role, estimate in estimates.items()}
    if ideal is None:
        return Comparison(intervals, reason="the metric has no better side")
    distances = {role: _distance(estimate, ideal) for role, estimate in estimates.items()}
    twin, original = distances.get("twin"), distances.get("original")
    over_floor = None if twin is None else distances["candidate"].minus(twin)
    room = None if twin is None or original is None else original.minus(twin)
    found = Comparison(
        intervals,
        None if over_floor is None else bootstrap.interval(over_floor),
        None if room is None else bootstrap.interval(room),
        reason="needs a twin and an original",
    )
    if over_floor is None or room is None or twin is None or original is None:
        return found
    return _with_relative(found, over_floor, room, (twin.value, original.value), bootstrap)


def _with_relative(
    found: Comparison, over_floor: Estimate, room: Estimate, ends: tuple[float, float], bootstrap: Bootstrap
) -> Comparison:
    parts = (found.intervals, found.over_floor, found.start_over_floor)
    if not room.value > 0:
        return Comparison(
            *parts,
            reason=f"start is no further from the ideal ({ends[1]:g}) than floor is ({ends[0]:g}): either the original cannot be told from "
            "a retrained model on these data, or the twin is none",
        )
    place = over_floor.over(room)
    if found.start_over_floor is None:
        return Comparison(*parts, place.value, reason="too few clusters for an interval")
    if found.start_over_floor[0] <= 0:
        reason = "start and floor overlap under resampling, so the interval has no bounds: use more prompts or samples"
        return Comparison(*parts, place.value, reason=reason)
    return Comparison(*parts, place.value, bootstrap.interval(place))


def _distance(estimate: Estimate, ideal: float | Estimate) -> Estimate:
    difference = estimate.minus(ideal) if isinstance(ideal, Estimate) else _shifted(estimate, ideal)
    sign = math.copysign(1.0, difference.value)
    return combined(abs(difference.value), [difference], [sign])


def _shifted(estimate: Estimate, by: float) -> Estimate:
    return Estimate(estimate.value - by, estimate.influence)
