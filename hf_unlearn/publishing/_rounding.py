"""How many digits of a number are published: as many as its interval supports. The local report keeps all.

Seventeen digits are a fingerprint: whoever has the models can compute the numbers of a guessed forget set and see whether they are these. Few
digits make that harder. They do not rule it out: a report has many numbers, and a small set few rivals.
"""

import dataclasses
import math
import re
from typing import Any

from hf_unlearn.audit import AuditReport, MetricResult, MetricResults


WITH_INTERVAL = {
    "value": "confidence_interval",
    "floor": "floor_confidence_interval",
    "start": "start_confidence_interval",
    "relative": "relative_confidence_interval",
}
"""Numbers of a result, and the fields that hold their intervals."""
DIFFERENCES = {
    "over_floor_interval": "difference of value from floor",
    "start_over_floor_interval": "difference of start from floor",
    "over_start_interval": "difference of value from start",
    "nearer_floor_interval": "difference of the distances to start and floor",
}
"""Intervals of what is no number of its own, and what that is."""
_MEASURED = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|\d+(?=\s?%)")
SMALL = 20
"""Rows of a set, below which a publisher is warned."""
_OF_HALF_WIDTH, _WITHOUT_INTERVAL = 2, 3
"""Significant digits: of an interval's half-width, and of a number that has none."""
_BOUNDARIES = (0.0, 1.0)
"""Of probabilities, shares and relative values: rounding alone makes nothing certain."""
_MOST = 15
DUST = 1e-12
"""Of the largest number of a result: what is smaller is left over from adding up, and shown as the 0 that it stands for."""


def rounded(report: AuditReport) -> AuditReport:
    """The report with the digits that are published; doing it twice changes nothing more.

    Args:
        report: All of its numbers finite.

    Returns:
        With a reading of the same words: where rounding would cross the line between two sentences, digits are added until it does not.
    """
    words = [reworded(sentence) for sentence in report.reading()]
    for more in range(_MOST):
        metrics = MetricResults({key: _rounded_result(result, more) for key, result in report.metrics.items()})
        found = dataclasses.replace(report, metrics=MetricResults(metrics))
        if [reworded(sentence) for sentence in found.reading()] == words:
            return found
    return report


def round_number(value: float, interval: tuple[float, float] | None = None, *, more: int = 0) -> float:
    """A number as it is published. Counts stay exact, and what is not 0 or 1 does not become it.

    Args:
        value: Finite.
        interval: Whose half-width keeps two significant digits; None: the number itself keeps three.
        more: Digits beyond that.

    Example:
        >>> round_number(12.345678, (11.2, 13.5)), round_number(0.123456), round_number(1024.0)
        (12.3, 0.123, 1024.0)
        >>> round_number(0.99996, (0.9, 1.0)), round_number(0.0004, (0.0, 0.2))
        (0.99996, 0.0004)
    """
    if float(value).is_integer():
        return float(value)
    decimals = more + _decimals(value, interval)
    found = round(value, decimals)
    if found in _BOUNDARIES:
        found = round(value, max(decimals, -math.floor(math.log10(abs(value - found)))))
    return found


def reworded(sentence: str) -> str:
    """A sentence without its measured numbers, which are compared where they stand as numbers.

    Example:
        >>> reworded("relative 0.46 in layers 1, 3–5: 12% cut")
        'relative … in layers 1, 3–5: …% cut'
    """
    return _MEASURED.sub("…", sentence)


def unit(value: float, interval: tuple[float, float] | None) -> float:
    """One of the last published digit."""
    return 10.0 ** -_decimals(value, interval)


def _decimals(value: float, interval: tuple[float, float] | None) -> int:
    if interval is None or not interval[0] < interval[1]:
        return _WITHOUT_INTERVAL - 1 - _magnitude(value)
    # Rounding moves the ends, and may so widen the interval that a digit less is supported: until that ends.
    decimals = _of_half_width(interval)
    while (fewer := _of_half_width((round(interval[0], decimals), round(interval[1], decimals)))) < decimals:
        decimals = fewer
    return decimals


def _of_half_width(interval: tuple[float, float]) -> int:
    return _OF_HALF_WIDTH - 1 - _magnitude((interval[1] - interval[0]) / 2)


def _magnitude(value: float) -> int:
    return 0 if value == 0 else math.floor(math.log10(abs(value)))


def _rounded_result(result: MetricResult, more: int) -> MetricResult:
    result = _without_dust(result)
    parts: dict[str, Any] = {}
    for name, bounds in WITH_INTERVAL.items():
        value, interval = getattr(result, name), getattr(result, bounds)
        if value is not None:
            parts[name] = round_number(value, interval, more=more)
        if interval is not None:
            parts[bounds] = tuple(round_number(end, interval, more=more) for end in interval)
    for bounds in DIFFERENCES:
        interval = getattr(result, bounds)
        if interval is not None:
            parts[bounds] = tuple(round_number(end, interval, more=more) for end in interval)
    if result.ideal is not None:
        parts["ideal"] = round_number(result.ideal, more=more)
    for name in ("others", "details"):
        parts[name] = {key: round_number(value, more=more) for key, value in getattr(result, name).items()}
    parts["by_layer"] = {layer: _rounded_result(part, more) for layer, part in result.by_layer.items()}
    return dataclasses.replace(result, **parts)


def _without_dust(result: MetricResult) -> MetricResult:
    """What is left over from adding up is shown as the 0 that it stands for; details have scales of their own."""
    numbers = (result.value, result.floor, result.start, result.ideal)
    scale = max(abs(number) for number in numbers if number is not None)

    def cleaned(value: Any, scale: float) -> Any:
        if isinstance(value, tuple):
            return tuple(cleaned(end, scale) for end in value)
        return 0.0 if value is not None and abs(value) < DUST * scale else value

    names = ("ideal", *WITH_INTERVAL, *WITH_INTERVAL.values(), *DIFFERENCES)
    parts = {name: cleaned(getattr(result, name), 1.0 if name.startswith("relative") else scale) for name in names}
    return dataclasses.replace(
        result, **parts, others={role: cleaned(value, scale) for role, value in result.others.items()}
    )
