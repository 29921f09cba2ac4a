"""One published result beside the same one recomputed: what agrees, what does not, what could not be compared. Runs no model."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hf_unlearn.audit import MetricResult
from hf_unlearn.publishing._rounding import DIFFERENCES, WITH_INTERVAL, reworded, unit


REPRODUCED, NOT_REPRODUCED, NOT_CHECKABLE = "reproduced", "not reproduced", "not checkable"
WITHIN = "published and recomputed value lie within each other's interval"
_TOLERANCE = 0.05
"""Of numbers without an interval of their own, and of interval bounds in units of the interval's width."""
_MOST = 0.5
"""Of a result's largest number: what no hardware makes of the same models and data, however wide an interval is."""


@dataclass(frozen=True)
class Check:
    """One claim of a published audit.

    Attributes:
        name: "card", "weights", "forget data", "notes", "reading" and the like, or a metric.
        outcome: "reproduced", "not reproduced" or "not checkable".
        reason: Why, in a sentence.
        published: The published value of a metric.
        interval: Its published interval.
        recomputed: The value found now.
    """

    name: str
    outcome: str
    reason: str
    published: float | None = None
    interval: tuple[float, float] | None = None
    recomputed: float | None = None


def unchecked(name: str, result: MetricResult, reason: str) -> Check:
    """A metric that was not recomputed; what is no claim by itself is not reproduced whatever the data."""
    baseless = _baseless(result)
    outcome = NOT_REPRODUCED if baseless else NOT_CHECKABLE
    reason = f"claims nothing that could be true: {_listed(baseless)}" if baseless else reason
    return Check(name, outcome, reason, result.value, result.confidence_interval)


def check_metric(
    name: str, published: MetricResult, again: MetricResult, lacking: str = "", *, bounds: bool = True
) -> list[Check]:
    """Compare everything that a result says, both ways: what was added, left out or reworded is a difference.

    Args:
        name: Of the metric.
        published: As claimed.
        again: As recomputed, from no more than the report names.
        lacking: What the report names and the verifier does not have; "" where all is there, so that all can be recomputed.
        bounds: Whether the bounds of intervals are compared; where they were computed otherwise, they only say how near values must be.

    Returns:
        One check of what was recomputed; after it one of the rest, which is not checkable, if there is a rest.
    """
    found = _compare(published, again, bounds)
    wrong, missing = (found.wrong, found.missing) if lacking else (found.wrong + found.missing, [])
    reason = f"differ: {_listed(wrong)}" if wrong else WITHIN
    numbers = (published.value, published.confidence_interval, again.value)
    checks = [Check(name, NOT_REPRODUCED if wrong else REPRODUCED, reason, *numbers)]
    if missing:
        reason = f"not recomputed: {_listed(missing)}; needs {lacking}"
        checks.append(Check(f"{name}, the rest", NOT_CHECKABLE, reason))
    return checks


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _baseless(result: MetricResult) -> list[str]:
    """Intervals of numbers that are not there, or without order."""
    found = []
    for what, bounds in WITH_INTERVAL.items():
        interval = getattr(result, bounds)
        if interval is not None and getattr(result, what) is None:
            found.append(f"interval of {what} without {what}")
        elif interval is not None and not interval[0] <= interval[1]:
            found.append(f"interval of {what} that ends before it begins")
    for bounds, what in DIFFERENCES.items():
        interval = getattr(result, bounds)
        if interval is not None and result.floor is None:
            found.append(f"interval of the {what} without floor")
        elif interval is not None and not interval[0] <= interval[1]:
            found.append(f"interval of the {what} that ends before it begins")
    return found + [f"{what} of layer {layer}" for layer, part in result.by_layer.items() for what in _baseless(part)]


@dataclass
class _Differences:
    """What differs or was left out, and what was claimed and not recomputed."""

    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def part(self, what: str, claim: Any, found: Any, agree: Callable[[Any, Any], bool]) -> None:
        """None is nothing claimed, or nothing recomputed; what was recomputed and is not claimed was left out."""
        if found is None and claim is not None:
            self.missing.append(what)
        elif claim is None and found is not None:
            self.wrong.append(f"{what} (left out)")
        elif claim is not None and not agree(claim, found):
            self.wrong.append(what)

    def parts(
        self, what: str, claims: dict[str, Any], found: dict[str, Any], agree: Callable[[Any, Any], bool]
    ) -> None:
        """The same for each name of a mapping."""
        for name in {**claims, **found}:
            self.part(what.format(name), claims.get(name), found.get(name), agree)


def _compare(published: MetricResult, again: MetricResult, with_bounds: bool) -> _Differences:
    most = _MOST * max(
        abs(number) for number in (again.value, again.floor, again.start, again.ideal) if number is not None
    )
    differences, width = _Differences(_baseless(published)), min(_width(again.confidence_interval), most)
    for what, bounds in WITH_INTERVAL.items():
        claimed, recomputed = getattr(published, bounds), getattr(again, bounds)
        scale = _width(recomputed) or (width if what != "relative" else 0.0)
        limit = most if what != "relative" else math.inf
        mutual = partial(_within_each_other, claimed=claimed, recomputed=recomputed, scale=scale, limit=limit)
        differences.part(what, getattr(published, what), getattr(again, what), mutual)
        if with_bounds:
            differences.part(f"interval of {what}", claimed, recomputed, partial(_near_bounds, scale=scale))
    for bounds, what in DIFFERENCES.items():
        claimed, recomputed = getattr(published, bounds), getattr(again, bounds)
        near = partial(_near_bounds, scale=_width(recomputed))
        differences.part(f"interval of the {what}", claimed, recomputed, near)
    for name in ("n", "clusters", "unit", "direction", "family"):
        differences.part(name, getattr(published, name), getattr(again, name), _equal)
    for name, what in {"assumes": "what it assumes", "floor_of": "whose value the floor is"}.items():
        differences.part(what, getattr(published, name) or None, getattr(again, name) or None, _equal)
    differences.part("ideal", published.ideal, again.ideal, partial(_near, width=width))
    if published.relative_reason or published.relative is None:
        reasons = (published.relative_reason or "", again.relative_reason or "")
        differences.missing += [] if _same_words(*reasons) else ["reason for no relative"]
    # Details have units of their own: they may move as the value may, in proportion.
    share = width / max(abs(again.value), 1e-12)
    differences.parts("value of the {}", published.others, again.others, partial(_near, width=width))
    differences.parts(
        "detail {}",
        published.details,
        again.details,
        lambda claim, found: _near(claim, found, min(share * abs(found), width)),
    )
    differences.parts("reason why layer {} has no value", published.undefined, again.undefined, _same_words)
    for layer in {**published.by_layer, **again.by_layer}:
        one, other = published.by_layer.get(layer), again.by_layer.get(layer)
        differences.part(f"layer {layer}", one, other, lambda claim, found: True)
        if one is not None and other is not None:
            below = _compare(one, other, with_bounds)
            differences.wrong += [f"{what} of layer {layer}" for what in below.wrong]
            differences.missing += [f"{what} of layer {layer}" for what in below.missing]
    return differences


def _equal(claim: Any, found: Any) -> bool:
    return bool(claim == found)


def _same_words(claim: str, found: str) -> bool:
    return reworded(claim) == reworded(found)


def _width(bounds: tuple[float, float] | None) -> float:
    return 0.0 if bounds is None else bounds[1] - bounds[0]


def _near_bounds(claimed: tuple[float, float], recomputed: tuple[float, float], scale: float) -> bool:
    return all(_near(a, b, scale) for a, b in zip(claimed, recomputed, strict=True))


def _within_each_other(
    claim: float,
    found: float,
    claimed: tuple[float, float] | None,
    recomputed: tuple[float, float] | None,
    scale: float,
    limit: float,
) -> bool:
    """Asked both ways: a claimed interval without end would contain anything. What is claimed is rounded as our own interval supports.

    From few clusters our own may have no end either, so values may differ by no more than `limit`.
    """
    slack = unit(found, recomputed) / 2
    if abs(claim - found) > limit + min(slack, limit) + 1e-6:
        return False
    return _inside(claim, recomputed, found, scale, slack) and _inside(found, claimed, claim, scale, slack)


def _inside(value: float, bounds: tuple[float, float] | None, other: float, scale: float, slack: float) -> bool:
    """Whether a value lies in the other side's interval; near the other side's value where that has none."""
    if bounds is None:
        return _near(value, other, scale)
    slack += 1e-6 * (1 + abs(other))
    return math.isfinite(value) and bounds[0] - slack <= value <= bounds[1] + slack


def _near(one: float, other: float, width: float) -> bool:
    """A quarter of an interval's width is well within what other hardware, whose samples differ, moves a bound or a floor."""
    return math.isfinite(one) and abs(one - other) <= max(_TOLERANCE * abs(other), 0.25 * width) + 1e-6
