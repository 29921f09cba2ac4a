"""What a tracked value is called in logs and files, for every metric by one rule. Knows specs and results; no model and no Trainer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from hf_unlearn.audit._assumed import marked
from hf_unlearn.audit._contracts import MetricSpec
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._verdict import KNOWN_BETTER


Place: TypeAlias = tuple[MetricSpec, str]
"""A metric on a set."""
OF_THE_TRAINER: Mapping[str, str] = {
    "score": "forgetting_score",
    "loss": "loss",
    "eval loss": "eval_loss",
    "forget loss": "forget_loss",
    "retain loss": "retain_loss",
}
"""Titles of columns that no metric gives, and what is in them."""
FEWEST = 5
"""Clusters below which an interval has hardly any bounds, and is not worth a curve."""
_FIRST_NAMES: Mapping[str, str] = {"exposure": "exposure_mean"}
"""Values that were called otherwise before there was a rule."""


def value_name(spec: MetricSpec, split: str) -> str:
    """`forget_probability`, `retain_probability`; of what compares with the reference, or with what stands in for it, `fade`, `retain_fade`.

    Args:
        spec: Of the metric.
        split: On which set.
    """
    return _FIRST_NAMES.get(_stem(spec, split), _stem(spec, split))


def _stem(spec: MetricSpec, split: str) -> str:
    return spec.name if _is_distance(spec) and split == "forget" else f"{split}_{spec.name}"


def _is_distance(spec: MetricSpec) -> bool:
    """Between the model and a reference, or what stands in for one."""
    return spec.compares or bool(spec.assumes)


def values_of(spec: MetricSpec, result: MetricResult) -> dict[str, float]:
    """A result as values by name.

    Beside the value itself: where it `has_place`, the interval (`…_low`, `…_high`) and the place between
    floor and start (`…_relative`), and by how much at least forget answers are known better than what stands in knows them; details that the spec says are tracked; of metrics by layer each layer (`layer_3_…`), last.

    Args:
        spec: Of the metric.
        result: Of the candidate.
    """
    name, stem = value_name(spec, result.split), _stem(spec, result.split)
    values = {name: result.value}
    if has_place(spec):
        if result.confidence_interval is not None and (result.clusters or 0) >= FEWEST:
            values |= dict(zip((f"{stem}_low", f"{stem}_high"), result.confidence_interval, strict=True))
        if result.relative is not None:
            values[f"{stem}_relative"] = result.relative
        if KNOWN_BETTER in result.details:
            values[known_better_name(stem)] = result.details[KNOWN_BETTER]
    values |= {f"{stem}_{detail}": result.details[detail] for detail in spec.tracked if detail in result.details}
    return values | {f"layer_{layer}_{name}": part.value for layer, part in result.by_layer.items()}


def has_place(spec: MetricSpec) -> bool:
    """Whether interval and relative are tracked too: of headline metrics between model and reference (or stand-in), where no layers say more."""
    return spec.headline and _is_distance(spec) and not spec.by_layer


def names_of(spec: MetricSpec, split: str) -> list[str]:
    """What `values_of` may give in the unit of the metric, intervals and layers aside."""
    return [value_name(spec, split), *(f"{_stem(spec, split)}_{detail}" for detail in spec.tracked)]


def interval_names(spec: MetricSpec, split: str) -> tuple[str, str]:
    """Of the ends of the interval."""
    return f"{_stem(spec, split)}_low", f"{_stem(spec, split)}_high"


def relative_name(spec: MetricSpec, split: str) -> str:
    """Of the place between floor and start."""
    return f"{_stem(spec, split)}_relative"


def known_better_name(stem: str) -> str:
    """Of the lower bound of the difference in the forget answers' probability to what stands in for the reference.

    Args:
        stem: Name of the distance.
    """
    return f"{stem}_{KNOWN_BETTER}"


def layer_names(name: str, series: Iterable[str]) -> dict[int, str]:
    """Of a value by layer, those of single layers, by layer in order.

    Example:
        >>> layer_names("cka", ["layer_10_cka", "layer_2_cka", "cka"])
        {2: 'layer_2_cka', 10: 'layer_10_cka'}
    """
    parts = ((each.removeprefix("layer_").removesuffix(f"_{name}"), each) for each in series)
    found = {int(layer): each for layer, each in parts if each == f"layer_{layer}_{name}" and layer.isdigit()}
    return dict(sorted(found.items()))


def columns(places: Sequence[Place]) -> dict[str, str]:
    """Titles of a table to names of values, what matters most first: a narrow terminal shows no more.

    Args:
        places: Each metric on each set.
    """
    shown = {place: _title(place[0], place[1]) for place in places}
    first = {title: value_name(*place) for place, title in shown.items() if place[0].headline}
    rest = {title: value_name(*place) for place, title in shown.items() if not place[0].headline}
    relative = {f"{title} relative": relative_name(*place) for place, title in shown.items() if has_place(place[0])}
    return {**first, **OF_THE_TRAINER, **relative, **rest, "seconds": "tracking_seconds"}


def _title(spec: MetricSpec, split: str) -> str:
    short = marked(spec.short or spec.title, spec.assumes)
    return short if _is_distance(spec) and split == "forget" else f"{split} {short}"
