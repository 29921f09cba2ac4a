"""One published result beside the same one recomputed: what agrees, what does not, what could not be compared. Runs no model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hf_unlearn.audit import MetricResult


REPRODUCED, NOT_REPRODUCED, NOT_CHECKABLE = "reproduced", "not reproduced", "not checkable"
WITHIN = "published and recomputed value lie within each other's interval"
_TOLERANCE = 0.05
"""Of numbers without an interval of their own, and of interval bounds in units of the interval's width."""


@dataclass(frozen=True)
class Check:
    """One claim of a published audit.

    Attributes:
        name: "card", "weights", "forget data" and the like, or a metric.
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
    """A metric that was not recomputed."""
    return Check(name, NOT_CHECKABLE, reason, result.value, result.confidence_interval)


def check_metric(name: str, published: MetricResult, again: MetricResult) -> Check:
    """Compare everything that a result says: value, interval, floor, start, relative, other models' values, layers.

    Args:
        name: Of the metric.
        published: As claimed.
        again: As recomputed.

    Returns:
        "reproduced" where all that was recomputed agrees; the reason names what was not.
    """
    wrong, missing = _compare(published, again)
    for layer, part in published.by_layer.items():
        other = again.by_layer.get(layer)
        off, gone = ([], ["value"]) if other is None else _compare(part, other)
        wrong += [f"{what} of layer {layer}" for what in off]
        missing += [f"{what} of layer {layer}" for what in gone]
    outcome = NOT_REPRODUCED if wrong else REPRODUCED
    reason = f"differ: {_listed(wrong)}" if wrong else WITHIN
    if missing:
        reason += f"; not recomputed: {_listed(missing)}"
    return Check(name, outcome, reason, published.value, published.confidence_interval, again.value)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _compare(published: MetricResult, again: MetricResult) -> tuple[list[str], list[str]]:
    wrong, missing = [], []
    width = _width(again.confidence_interval)
    for what, bounds in (
        ("value", "confidence_interval"),
        ("floor", "floor_confidence_interval"),
        ("start", "start_confidence_interval"),
        ("relative", "relative_confidence_interval"),
    ):
        claim, found = getattr(published, what), getattr(again, what)
        claimed, recomputed = getattr(published, bounds), getattr(again, bounds)
        if claim is None:
            continue
        if found is None:
            missing.append(what)
            continue
        scale = _width(recomputed) or (width if what != "relative" else 0.0)
        if not (_inside(claim, recomputed, found, scale) and _inside(found, claimed, claim, scale)):
            wrong.append(what)
        if claimed is not None and recomputed is None:
            missing.append(f"interval of {what}")
        elif claimed is not None and not all(_near(a, b, scale) for a, b in zip(claimed, recomputed, strict=True)):
            wrong.append(f"interval of {what}")
    wrong += [
        f"value of the {role}"
        for role, claim in published.others.items()
        if role in again.others and not _near(claim, again.others[role], width)
    ]
    missing += [f"value of the {role}" for role in published.others if role not in again.others]
    return wrong, missing


def _width(bounds: tuple[float, float] | None) -> float:
    return 0.0 if bounds is None else bounds[1] - bounds[0]


def _inside(value: float, bounds: tuple[float, float] | None, other: float, scale: float) -> bool:
    """Whether a value lies in the other side's interval; near the other side's value where that has none.

    Asked both ways: a claimed interval without end would contain anything.
    """
    if bounds is None:
        return _near(value, other, scale)
    slack = 1e-6 * (1 + abs(other))
    return math.isfinite(value) and bounds[0] - slack <= value <= bounds[1] + slack


def _near(one: float, other: float, width: float) -> bool:
    """A quarter of an interval's width is well within what other hardware, whose samples differ, moves a bound or a floor."""
    return math.isfinite(one) and abs(one - other) <= max(_TOLERANCE * abs(other), 0.25 * width) + 1e-6


def absent(given: Mapping[str, object]) -> str:
    """Why a metric was not recomputed.

    Args:
        given: What it may need, by name; None where it was not there.
    """
    names = [what for what, value in given.items() if value is None]
    return f"was not recomputed; not given: {', '.join(names)}" if names else "this version does not compute it"
