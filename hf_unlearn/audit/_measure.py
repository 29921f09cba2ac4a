"""From readings to results: the only place that knows floor, start, relative, layers and intervals. Runs no model, knows no metric by name."""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from hf_unlearn.audit._contracts import MetricSpec, SubjectKey, Undefined
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._metric_result import Interval, MetricResult
from hf_unlearn.audit._rows import Evidence, Rows
from hf_unlearn.functional import Bootstrap, Comparison, Estimate, average, combined, compare
from hf_unlearn.inference import dealt


logger = logging.getLogger(__name__)
TWIN = "twin"
SCALES: Mapping[tuple[float | None, float | None], str] = {
    (0.0, None): "log",
    (0.0, 1.0): "logit",
    (-1.0, 1.0): "fisher",
}
"""Where intervals are found, by the bounds of a metric."""
CANDIDATE, REFERENCE, ORIGINAL = "candidate", "reference", "original"


@dataclass(frozen=True)
class _Values:
    """A metric's estimates of each role, and why a role has none."""

    estimates: dict[str, Estimate]
    reasons: dict[str, str]


def measure(
    metric: BaseMetric, evidence: Evidence, split: str, condition: str, uncertainty: Bootstrap
) -> MetricResult | str:
    """One result, or why there is none.

    Args:
        metric: Which one.
        evidence: What was read.
        split: On which set.
        condition: Under which condition the candidate is meant; "" = as it is.
        uncertainty: How intervals are found.
    """
    lacking = [role for role in metric.spec.requires if role not in evidence.roles()]
    if lacking:
        return f"it needs the {lacking[0]}"
    rows = Rows(evidence, SubjectKey(CANDIDATE, condition), split)
    if not metric.spec.by_layer:
        values = _values(metric, rows, uncertainty)
        if CANDIDATE not in values.estimates:
            return values.reasons.get(CANDIDATE, "not defined")
        return _result(metric, rows, values, uncertainty)
    layers = rows.layers()
    if not layers:
        return "no hidden states were read"
    return _over_layers(metric, rows, layers, uncertainty)


def _roles(metric: BaseMetric, rows: Rows) -> list[str]:
    """Whose value is asked for: those of a metric's own floor besides the models that every metric may look at."""
    kinds = (CANDIDATE, REFERENCE, ORIGINAL, TWIN, *metric.spec.floor_roles)
    found = [role for role in rows.evidence.roles() if role.startswith(kinds)]
    found = [role for role in found if not (metric.spec.compares and role == REFERENCE)]
    return found if CANDIDATE in found else [CANDIDATE, *found]


def _values(metric: BaseMetric, rows: Rows, uncertainty: Bootstrap) -> _Values:
    estimates: dict[str, Estimate] = {}
    reasons: dict[str, str] = {}
    for role in _roles(metric, rows):
        mine = rows if role == CANDIDATE else rows.of(role)
        try:
            estimates[role] = _scaled(_checked(metric(mine, uncertainty), metric.spec), metric.spec)
        except Undefined as why:
            reasons[role] = str(why)
    return _Values(estimates, reasons)


def _checked(found: object, spec: MetricSpec) -> Estimate:
    """What a metric gave, if it is what its spec says.

    Raises:
        TypeError: No estimate.
        Undefined: Outside of the bounds; the other metrics go on.
    """
    if not isinstance(found, Estimate):
        raise TypeError(
            f"the metric {spec.name!r} must give an Estimate (audit.mean_of gives one), got {type(found).__name__}."
        )
    low, high = spec.bounds
    slack = 1e-6 * max(1.0, abs(found.value))
    if (low is not None and found.value < low - slack) or (high is not None and found.value > high + slack):
        raise Undefined(f"it gives {found.value:g}, outside of its bounds {spec.bounds}")
    return found


def _scaled(estimate: Estimate, spec: MetricSpec) -> Estimate:
    """With intervals where the metric's bounds say, unless it has said so itself."""
    scale = SCALES.get(spec.bounds, "plain")
    return dataclasses.replace(estimate, scale=scale) if estimate.scale == "plain" else estimate


def _over_layers(metric: BaseMetric, rows: Rows, layers: list[int], uncertainty: Bootstrap) -> MetricResult | str:
    """Each layer by itself, by one of the processes; the value is the mean over the layers where every role that has a value somewhere has one."""
    by_layer = dealt(layers, lambda layer: _values(metric, rows.at(layer), uncertainty))
    defined = [layer for layer in layers if CANDIDATE in by_layer[layer].estimates]
    reasons = {
        str(layer): by_layer[layer].reasons[CANDIDATE] for layer in layers if CANDIDATE in by_layer[layer].reasons
    }
    if not defined:
        return next(iter(reasons.values()), "not defined")
    roles = list(dict.fromkeys(role for values in by_layer.values() for role in values.estimates))
    shared = [layer for layer in defined if all(role in by_layer[layer].estimates for role in roles)]
    if not shared:
        roles, shared = [CANDIDATE], defined
    means = {role: average([by_layer[layer].estimates[role] for layer in shared]) for role in roles}
    missing = {role: why for layer in layers for role, why in by_layer[layer].reasons.items() if role not in means}
    # By whoever has worked out the layer already.
    results = dealt(
        layers,
        lambda layer: _result(metric, rows.at(layer), by_layer[layer], uncertainty) if layer in defined else None,
    )
    parts = {str(layer): result for layer, result in results.items() if result is not None}
    gaps = {}
    if metric.spec.direction == "reference":
        # Too much at one layer and too little at another are both far: distances are averaged, not what they are distances of.
        ideals = {
            layer: _ideal(metric.spec, rows.at(layer), metric, by_layer[layer].estimates, uncertainty)
            for layer in shared
        }
        gaps = {
            role: average([_distance(by_layer[layer].estimates[role], ideals[layer]) for layer in shared])
            for role in roles
            if role != REFERENCE
        }
    whole = _result(metric, rows, _Values(means, missing), uncertainty, parts, gaps)
    return dataclasses.replace(whole, by_layer=parts, undefined=reasons)


def _result(
    metric: BaseMetric,
    rows: Rows,
    values: _Values,
    uncertainty: Bootstrap,
    parts: Mapping[str, MetricResult] | None = None,
    distances: Mapping[str, Estimate] | None = None,
) -> MetricResult:
    """Floor, start, relative and intervals of one value; of distances that are known already, where they are given."""
    spec, estimates = metric.spec, values.estimates
    mine = estimates[CANDIDATE]
    ideal = _ideal(spec, rows, metric, estimates, uncertainty)
    read = {role: estimate for role, estimate in estimates.items() if role != REFERENCE}
    found = compare(_compared(spec, distances or read), ideal=0.0 if distances else ideal, bootstrap=uncertainty)
    others = {} if spec.compares else {role: e.value for role, e in estimates.items() if role != CANDIDATE}
    floor_of, twins = _floor(spec, estimates)
    floor, start = average(twins) if twins else None, estimates.get(ORIGINAL)
    shown = [mine, floor, start]
    present = [estimate for estimate in shown if estimate is not None]
    bounds = iter(uncertainty.intervals(present))
    own, of_floor, of_start = (None if estimate is None else next(bounds) for estimate in shown)
    cut = partial(_possible, spec=spec)
    return MetricResult(
        value=mine.value,
        confidence_interval=own,
        n=metric.count(rows),
        unit=spec.unit,
        direction=spec.direction,
        floor=None if floor is None else floor.value,
        start=None if start is None else start.value,
        floor_confidence_interval=of_floor,
        start_confidence_interval=of_start,
        relative=found.relative,
        relative_confidence_interval=found.relative_interval,
        relative_reason=_reason(found, values, spec),
        others=others if spec.ideal == "reference" or spec.assumes else {},
        details=metric.details(rows, uncertainty)
        if parts is None
        else metric.details_over_layers(
            rows, {int(layer): part.details for layer, part in parts.items()}, uncertainty
        ),
        name=spec.name,
        split=rows.split,
        condition=rows.subject.condition,
        ideal=ideal.value if isinstance(ideal, Estimate) else ideal,
        family=spec.family,
        clusters=_clusters(mine, rows, spec),
        over_floor_interval=cut(found.over_floor),
        start_over_floor_interval=cut(found.start_over_floor),
        nearer_floor_interval=cut(found.nearer_floor, times=2),
        over_start_interval=cut(found.over_start),
        assumes=spec.assumes,
        floor_of="" if floor_of == TWIN else floor_of,
    )


def _floor(spec: MetricSpec, estimates: Mapping[str, Estimate]) -> tuple[str, list[Estimate]]:
    """Whose values are the floor, and these; "" where there are none."""
    for kind in spec.floor_roles:
        found = [estimate for role, estimate in estimates.items() if role.startswith(kind)]
        if found:
            return kind, found
    return "", []


def _compared(spec: MetricSpec, estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Candidate, original, and as twins whatever is the floor of this metric."""
    ends = {role: estimates[role] for role in (CANDIDATE, ORIGINAL) if role in estimates}
    return ends | {f"{TWIN} {number}": estimate for number, estimate in enumerate(_floor(spec, estimates)[1])}


def _distance(estimate: Estimate, ideal: float | Estimate | None) -> Estimate:
    """How far a value lies from its ideal, on the side where it is seen."""
    gap = (
        estimate.minus(ideal)
        if isinstance(ideal, Estimate)
        else combined(estimate.value - (ideal or 0.0), [estimate], [1.0])
    )
    return combined(abs(gap.value), [gap], [1.0 if gap.value >= 0 else -1.0])


def _possible(interval: Interval | None, spec: MetricSpec, times: int = 1) -> Interval | None:
    """A difference of distances, or of `times` of them, no larger than the metric's bounds allow."""
    low, high = spec.bounds
    if interval is None or low is None or high is None:
        return interval
    most = times * (high - low)
    return max(-most, interval[0]), min(most, interval[1])


def _clusters(estimate: Estimate, rows: Rows, spec: MetricSpec) -> int | None:
    """Independent ones behind a value on one set; several sets have several counts. What rests on unseen names may have clusters of its own."""
    if estimate.influence is None:
        return None
    if len(estimate.influence) != rows.clusters.max() + 1 and not spec.assumes:
        return None
    return estimate.num_clusters


def _ideal(
    spec: MetricSpec, rows: Rows, metric: BaseMetric, estimates: Mapping[str, Estimate], uncertainty: Bootstrap
) -> float | Estimate | None:
    if spec.ideal == "reference":
        return estimates.get(REFERENCE)
    if spec.ideal == "holdout":
        try:
            return metric(rows.on("holdout"), uncertainty).value
        except Undefined:
            return None
    return None if spec.ideal is None else float(spec.ideal)


def _reason(found: Comparison, values: _Values, spec: MetricSpec) -> str | None:
    if found.reason is None or spec.ideal is None:
        return found.reason
    if spec.ideal == REFERENCE and REFERENCE not in values.estimates:
        return f"the ideal is not defined: {values.reasons.get(REFERENCE, 'it needs the reference')}"
    for role, name in ((spec.floor_roles[-1], "floor"), (ORIGINAL, "start")):
        if role not in values.estimates and role in values.reasons:
            return f"{name} is not defined: {values.reasons[role]}"
    if spec.assumes and ORIGINAL in values.estimates:
        if not _floor(spec, values.estimates)[1]:
            return "needs a floor: unseen names, or continued models"
        if found.relative is None:
            return "start is no further from the ideal than floor is: the original cannot be told from one that never saw these subjects"
    return found.reason
