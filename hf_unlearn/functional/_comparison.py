"""Where a candidate lies between another retraining and having done nothing: the same rule for every metric, by distance to the ideal.

Knows estimates in three roles; no metric and no model.

A distance |x − ideal| has a kink where x meets the ideal, and there neither its sign nor its slope is known. So bounds are found for signed
gaps, which are smooth, and where an interval of a gap holds both signs, the bound that could be wrong is the outermost over both:
s·a ≤ |a| for either sign s, so that a lower bound of |a| − |b| needs one sign of a and all of b that are possible.

A share that is 0 or 1 in all clusters has no influences, but what as many prompts may have missed; every bound that it enters is moved by that.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from scipy.stats import t as student

from hf_unlearn.functional._uncertainty import SCALES, Bootstrap, Estimate, Interval, combined, few_clusters_note


@dataclass(frozen=True)
class Comparison:
    """What the numbers of candidate, twins and original say together. Everything is paired: the same clusters are drawn for all.

    d is the distance to the ideal; d(twin) the mean over the twins, where there are several.

    Attributes:
        intervals: Of each role's own value.
        num_clusters: How many independent prompts it rests on.
        over_floor: Of d(candidate) − d(twin); above 0 = further than another retraining is, around 0 = not distinguishable from one.
        start_over_floor: Of d(original) − d(twin). Where it reaches 0 the original itself cannot be told from a retraining, so that these
            rows cannot tell whether anything was forgotten.
        nearer_floor: Of (d(original) − d(candidate)) − (d(candidate) − d(twin)); above 0 = nearer to another retraining than to having done
            nothing.
        over_start: Of d(candidate) − d(original); below 0 = unlearning came closer to the ideal, above 0 = it went away from it.
        relative: (d(candidate) − d(twin)) / (d(original) − d(twin)): 0 = as good as retraining, 1 = as if nothing had been unlearned,
            above 1 = worse than doing nothing, below 0 = closer to the ideal than the twin. None where it has no meaning.
        relative_interval: Of `relative`; None where it is not bounded.
        reason: Why `relative` or its interval is None, else None.
    """

    intervals: Mapping[str, Interval | None]
    num_clusters: int = 0
    over_floor: Interval | None = None
    start_over_floor: Interval | None = None
    nearer_floor: Interval | None = None
    over_start: Interval | None = None
    relative: float | None = None
    relative_interval: Interval | None = None
    reason: str | None = None

    @property
    def can_tell(self) -> bool:
        """Whether these rows tell the original from another retraining: otherwise they say nothing in a candidate's favour."""
        return self.start_over_floor is not None and self.start_over_floor[0] > 0

    @property
    def verdict(self) -> str | None:
        """What may be said; None without a twin or without intervals.

        "further" than another retraining; "closer" to the ideal than one; "indistinguishable" from one, which needs that the rows can tell,
        and that the candidate is nearer to another retraining than to the original; else "cannot tell". With fewer prompts more and more
        becomes "cannot tell".
        """
        if self.over_floor is None:
            return None
        if self.over_floor[0] > 0:
            return "further"
        if not self.can_tell or self.nearer_floor is None or self.nearer_floor[0] <= 0:
            return "cannot tell"
        return "closer" if self.over_floor[1] < 0 else "indistinguishable"


def compare(
    estimates: Mapping[str, Estimate], *, ideal: float | Estimate | None = 0.0, bootstrap: Bootstrap | None = None
) -> Comparison:
    """Compare a metric's values under candidate, twin and original.

    Args:
        estimates: By role, over the same clusters in the same order; "candidate" is there, "original" may be, and so may one twin or several:
            every role that begins with "twin".
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
    intervals = dict(zip(estimates, bootstrap.intervals(list(estimates.values())), strict=True))
    sides = [*estimates.values(), *([ideal] if isinstance(ideal, Estimate) else [])]
    n = min(estimate.num_clusters for estimate in sides)
    if ideal is None:
        return Comparison(intervals, n, reason="the metric has no better side")
    distances = {role: _distance(estimate, ideal, bootstrap) for role, estimate in estimates.items()}
    candidate, original = distances["candidate"], distances.get("original")
    twins = [distance for role, distance in distances.items() if role.startswith("twin")]
    floor = [(1 / len(twins), twin) for twin in twins]
    below = [(-share, twin) for share, twin in floor]
    if not twins:
        return Comparison(intervals, n, reason="needs a twin and an original")
    over_floor = _bounds([(1.0, candidate), *below], bootstrap)
    if original is None:
        return Comparison(intervals, n, over_floor, reason="needs a twin and an original")
    room = _bounds([(1.0, original), *below], bootstrap)
    nearer = _bounds([(1.0, original), (-2.0, candidate), *floor], bootstrap)
    over_start = _bounds([(1.0, candidate), (-1.0, original)], bootstrap)
    found = (intervals, n, over_floor, room, nearer, over_start)
    at_floor = sum(share * abs(twin.gap.value) for share, twin in floor)
    start = abs(original.gap.value)
    if not start > at_floor:
        return Comparison(
            *found,
            reason=f"start is no further from the ideal ({start:g}) than floor is ({at_floor:g}): either the original cannot be told from "
            "a retrained model on these data, or the twin is none",
        )
    value = (abs(candidate.gap.value) - at_floor) / (start - at_floor)
    if room is None:
        bare = any(estimate.influence is None for estimate in sides)
        return Comparison(*found, value, reason="a value comes without uncertainty" if bare else few_clusters_note(n))
    bounds = None if room[0] <= 0 else _relative_bounds(candidate, below, original, bootstrap)
    if bounds is None:
        reason = "start and floor overlap under resampling, so the interval has no bounds: use more prompts or samples"
        return Comparison(*found, value, reason=reason)
    return Comparison(*found, value, bounds)


@dataclass(frozen=True)
class _Distance:
    """|gap|, with the signs that the gap may have, the observed one first, and what its value and the ideal may have `unseen`."""

    gap: Estimate
    signs: tuple[float, ...]
    unseen: Interval
    unseen_of_ideal: Interval


_Terms = Sequence[tuple[float, _Distance]]


def _distance(estimate: Estimate, ideal: float | Estimate, bootstrap: Bootstrap) -> _Distance:
    if isinstance(ideal, Estimate):
        gap, one_sided = estimate.minus(ideal), False
    else:
        low, high = SCALES[estimate.scale].bounds
        gap, one_sided = combined(estimate.value - ideal, [estimate], [1.0]), not low < ideal < high
    unseen = bootstrap.unseen(estimate)
    of_ideal = bootstrap.unseen(ideal) if isinstance(ideal, Estimate) else (0.0, 0.0)
    sign = math.copysign(1.0, gap.value)
    interval = None if one_sided else bootstrap.interval(gap)
    unsure = interval is not None and interval[0] + unseen[0] - of_ideal[1] < 0 < interval[1] + unseen[1] - of_ideal[0]
    return _Distance(gap, (sign, -sign) if unsure else (sign,), unseen, of_ideal)


def _signed(terms: _Terms, signs: Sequence[float]) -> tuple[Estimate, Interval]:
    """A sum of distances with these signs, and how far below and above it the unseen may take it."""
    slopes = [weight * sign for (weight, _), sign in zip(terms, signs, strict=True)]
    gaps = [distance.gap for _, distance in terms]
    value = combined(sum(k * gap.value for k, gap in zip(slopes, gaps, strict=True)), gaps, slopes)
    # The ideal is one and the same in all gaps.
    parts = [*zip(slopes, [distance.unseen for _, distance in terms], strict=True)]
    moved = [(k * low, k * high) for k, (low, high) in [*parts, (-sum(slopes), terms[0][1].unseen_of_ideal)]]
    return value, (sum(map(min, moved)), sum(map(max, moved)))


def _bounds(terms: _Terms, bootstrap: Bootstrap) -> Interval | None:
    """Of a sum of distances with weights."""
    lower = product(*(distance.signs[:1] if weight > 0 else distance.signs for weight, distance in terms))
    upper = product(*(distance.signs if weight > 0 else distance.signs[:1] for weight, distance in terms))

    def intervals(choices: Iterable[Sequence[float]]) -> list[Interval | None]:
        sums = [_signed(terms, signs) for signs in choices]
        found = bootstrap.intervals([value for value, _ in sums])
        return [
            interval and (interval[0] + low, interval[1] + high)
            for interval, (_, (low, high)) in zip(found, sums, strict=True)
        ]

    return _outermost(intervals(lower), intervals(upper))


def _relative_bounds(
    candidate: _Distance, below: _Terms, original: _Distance, bootstrap: Bootstrap
) -> Interval | None:
    """The original's sign is known, or it could not be told from the floor; a floor moves numerator and denominator."""

    def places(own: Sequence[float]) -> list[Interval | None]:
        found: list[Interval | None] = []
        for sign, *floor in product(own, *(twin.signs for _, twin in below)):
            above, may_move = _signed([(1.0, candidate), *below], [sign, *floor])
            room, room_may_move = _signed([(1.0, original), *below], [original.signs[0], *floor])
            # A ratio's bounds are monotone in numerator and denominator, so that the corners are the outermost.
            corners = product(dict.fromkeys(may_move), dict.fromkeys(room_may_move))
            found += [
                _fieller(
                    replace(above, value=above.value + by),
                    replace(room, value=room.value + other),
                    bootstrap.confidence,
                )
                for by, other in corners
            ]
        return found

    return _outermost(places(candidate.signs[:1]), places(candidate.signs))


def _fieller(numerator: Estimate, denominator: Estimate, confidence: float) -> Interval | None:
    """The ratios ρ with |a − ρ b| ≤ q · its standard error, q Student's quantile; None where b is not known from 0 and they have no bounds.

    The slope of a ratio is not known where its denominator is not: a linearised interval of one was too short by what the denominator's
    error does to both ends, and lay wholly below 1 for one candidate in seven that had forgotten nothing.
    """
    if numerator.influence is None or denominator.influence is None or denominator.value <= 0:
        return None
    count, few = len(denominator.influence), min(numerator.num_clusters, denominator.num_clusters)
    quantile_squared = float(student.ppf((1 + confidence) / 2, few - 1)) ** 2
    ratio = numerator.value / denominator.value
    # Around the ratio, where a − ratio · b is 0: what is subtracted is then small beside what is left.
    rest, part = numerator.influence - ratio * denominator.influence, denominator.influence
    unit = quantile_squared / (count * (count - 1))
    of_rest, shared, of_part = (unit * float(one @ other) for one, other in ((rest, rest), (rest, part), (part, part)))
    known = denominator.value**2 - of_part
    if known <= 0:
        return None
    half = math.sqrt(shared**2 + of_rest * known)
    return ratio + (-shared - half) / known, ratio + (-shared + half) / known


def _outermost(lower: Sequence[Interval | None], upper: Sequence[Interval | None]) -> Interval | None:
    """From the lowest of the lower to the highest of the upper; None where one of them has no bounds."""
    lows = [interval[0] for interval in lower if interval is not None]
    highs = [interval[1] for interval in upper if interval is not None]
    return (min(lows), max(highs)) if len(lows) + len(highs) == len(lower) + len(upper) else None
