"""What the curves of a tracked training are drawn in: panels and heat maps, from specs. Knows no metric by name."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hf_unlearn.audit._assumed import EXCHANGEABLE, floor_word, titled
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.training._tracked_names import (
    Place,
    has_place,
    interval_names,
    layer_names,
    names_of,
    relative_name,
    value_name,
)


_SCALES = {
    "": ("Between retraining and doing nothing", "0 = retrained, 1 = original"),
    "counterfactual": (
        f"Between unseen subjects and doing nothing ({EXCHANGEABLE})",
        "0 = floor of unseen names, 1 = original",
    ),
}
"""Title and unit of the panel of places between floor and start, by what they assume."""


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis.

    Attributes:
        title: Of the panel.
        unit: Of its values.
        names: Of its values.
        lines: What each is read against, by its name: floor, start, the reference's own value.
        bands: Lower and upper end of an interval, by the value's name.
        headline: Whether the figure has it too.
    """

    title: str
    unit: str
    names: tuple[str, ...]
    lines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    headline: bool = False


@dataclass(frozen=True)
class Heat:
    """A value at every layer, step by step.

    Attributes:
        title: Of the map.
        names: Of the values, by layer.
        low: Where the colours begin.
        high: Where they end.
    """

    title: str
    names: Mapping[int, str]
    low: float
    high: float


def panels(places: Sequence[Place], results: Mapping[str, MetricResult], series: Iterable[str]) -> list[Panel]:
    """One for each family and unit, headline metrics first; then places between floor and start, the score, and what is left.

    Args:
        places: Each metric on each set.
        results: What was found last, by name of the value.
        series: Names of all values.
    """
    known = set(series)
    groups: dict[tuple[str, ...], list[Place]] = {}
    for place in sorted(places, key=lambda place: not place[0].headline):
        groups.setdefault((place[0].family, place[0].unit, place[0].assumes), []).append(place)
    found = [_panel(group, results) for group in groups.values()]
    placed = {assumes: [p for p in places if has_place(p[0]) and p[0].assumes == assumes] for assumes in _SCALES}
    found += [Panel(*_SCALES[assumes], tuple(relative_name(*place) for place in of)) for assumes, of in placed.items()]
    found.append(Panel("Score of the rule", "lower is better; a gap: too little was kept", ("forgetting_score",)))
    taken = {
        name for panel in found for name in [*panel.names, *(end for ends in panel.bands.values() for end in ends)]
    }
    other = sorted(name for name in known - taken if not name.startswith("layer_"))
    found.append(Panel("Other", "", tuple(other)))
    kept = [dataclasses.replace(panel, names=tuple(name for name in panel.names if name in known)) for panel in found]
    return [panel for panel in kept if panel.names]


def _panel(group: Sequence[Place], results: Mapping[str, MetricResult]) -> Panel:
    titles = list(dict.fromkeys(titled(spec) for spec, _ in group))
    found = {value_name(*place): _lines(results.get(value_name(*place))) for place in group}
    return Panel(
        _capital(", ".join(titles)),
        group[0][0].unit,
        tuple(name for place in group for name in names_of(*place)),
        {name: lines for name, lines in found.items() if lines},
        {value_name(*place): interval_names(*place) for place in group if has_place(place[0])},
        any(spec.headline for spec, _ in group),
    )


def _lines(result: MetricResult | None) -> dict[str, float]:
    if result is None:
        return {}
    floor = f"floor ({floor_word(result.floor_of)})" if result.assumes else "floor"
    known = {floor: result.floor, "start": result.start, "reference": result.others.get("reference")}
    return {name: value for name, value in known.items() if value is not None}


def heats(places: Sequence[Place], results: Mapping[str, MetricResult], series: Iterable[str]) -> list[Heat]:
    """One for each headline metric by layer.

    Args:
        places: Each metric on each set.
        results: What was found last, by name of the value.
        series: Names of all values.
    """
    names, found = list(series), []
    for spec, split in places:
        layers = layer_names(value_name(spec, split), names)
        if spec.headline and layers:
            low, high = _range(spec.bounds, results.get(value_name(spec, split)))
            found.append(Heat(f"{_capital(titled(spec))} on {split}, by layer", layers, low, high))
    return found


def _range(bounds: tuple[float | None, float | None], result: MetricResult | None) -> tuple[float, float]:
    """Of the colours: the metric's bounds; where there are none, as far again from the ideal as the original is."""
    ideal = 0.0 if result is None or result.ideal is None else result.ideal
    start = ideal + 1 if result is None or result.start in (None, ideal) else result.start
    assert start is not None
    reach = 2 * abs(start - ideal)
    low = ideal - reach if bounds[0] is None else bounds[0]
    return low, ideal + reach if bounds[1] is None else bounds[1]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
