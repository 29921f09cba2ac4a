"""Which metrics and conditions an audit has: by name or as objects; and what the metrics need to be read, united."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hf_unlearn._arguments import known_name
from hf_unlearn.audit._contracts import Condition, DomainFactory, MetricSpec, Reading, is_measured
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit.domains import DOMAINS
from hf_unlearn.audit.metrics import METRICS
from hf_unlearn.config import STANDARD


MetricLike = str | BaseMetric
CONDITIONS: dict[str, Callable[[], Condition]] = {}
"""Attacks by name, as `METRICS` and `DOMAINS` are: to add one of your own, put its class here, or pass an object to `audit(conditions=[...])`."""
ROLES = ("candidate", "reference", "original", "twin")
COUNTERFACTUAL = "counterfactual"
"""In place of metrics: those that take the place of a reference."""


def choose_metrics(
    given: str | Sequence[MetricLike], settings: Mapping[str, Any], *, has_reference: bool = True
) -> list[BaseMetric]:
    """Metrics by name, in the order of the registry, then objects as they came.

    Args:
        given: "standard", "counterfactual", one name, or names and objects.
        settings: The options of the audit, for metrics that want them.
        has_reference: Whether there is a retrained model; without one the standard metrics include the counterfactual ones.

    Raises:
        ValueError: An unknown name (says what may have been meant), none at all, or one twice.
        TypeError: Neither names nor metrics.
    """
    parts = [given] if isinstance(given, (str, BaseMetric)) else list(given)
    names: list[str] = []
    objects: list[BaseMetric] = []
    for part in parts:
        if isinstance(part, BaseMetric):
            objects.append(part)
        elif isinstance(part, str):
            names += _named(part, has_reference)
        else:
            raise TypeError(f"metrics are names or metric objects, got {type(part).__name__}.")
    ordered = [METRICS[name].from_settings(settings) for name in METRICS if name in names]
    found = ordered + objects
    if not found:
        raise ValueError(f"metrics names no metric; there are {', '.join(METRICS)}, or {STANDARD!r}.")
    for own in objects:
        if not isinstance(getattr(own, "spec", None), MetricSpec):
            raise TypeError(f"a metric has a spec (hf_unlearn.audit.MetricSpec); {type(own).__name__} has none.")
        if METRICS.get(own.spec.name, type(own)) is not type(own):
            raise ValueError(f"there is a metric {own.spec.name!r} already; give yours another name.")
    return without_twins(found)


def without_twins(metrics: list[BaseMetric]) -> list[BaseMetric]:
    """The metrics, of which no two have one name.

    Raises:
        ValueError: Two have.
    """
    used = [metric.spec.name for metric in metrics]
    twice = sorted({name for name in used if used.count(name) > 1})
    if twice:
        raise ValueError(f"the metric {twice[0]!r} is there twice.")
    return metrics


def without_reference(metrics: Sequence[BaseMetric]) -> tuple[list[BaseMetric], list[str]]:
    """The metrics that can have a value where there is no reference, and the titles of the others.

    Raises:
        ValueError: None can.
    """
    kept = [metric for metric in metrics if not needs_reference(metric.spec)]
    others = [metric for metric in metrics if needs_reference(metric.spec)]
    others.sort(key=lambda metric: not metric.spec.headline)
    lacking = [metric.spec.title for metric in others]
    if not kept:
        raise ValueError(
            f"{', '.join(metric.spec.name for metric in others)}: all of this compares with a retrained model, and no reference was given. Give one "
            "(reference), or choose the counterfactual metrics, which do without."
        )
    return kept, lacking


def needs_reference(spec: MetricSpec) -> bool:
    """Whether it has no value at all without a reference."""
    return not spec.assumes and (spec.compares or "reference" in spec.requires)


def _named(part: str, has_reference: bool) -> list[str]:
    specs = {name: metric.from_settings({}).spec for name, metric in METRICS.items()}
    standard = [name for name, spec in specs.items() if spec.standard]
    counterfactual = [name for name, spec in specs.items() if spec.assumes == COUNTERFACTUAL]
    if part == COUNTERFACTUAL:
        return counterfactual
    if part == STANDARD:
        return standard if has_reference else standard + counterfactual
    return [known_name("metric", part, METRICS)]


def choose_conditions(given: Sequence[str | Condition], metrics: Collection[str] | None = None) -> list[Condition]:
    """Conditions by name or as objects, in the order given.

    Args:
        given: Names in `CONDITIONS`, and objects.
        metrics: Names of the chosen metrics, which alone they can ask for; default: not asked.

    Raises:
        ValueError: An unknown name (says what may have been meant), one twice, one that cannot stand in a key, or nobody to whom it is done.
    """
    found = [
        CONDITIONS[known_name("condition", part, CONDITIONS)]() if isinstance(part, str) else part for part in given
    ]
    names = [condition.name for condition in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"the condition {twice[0]!r} is there twice.")
    for condition in found:
        _check_condition(condition)
        unknown = sorted(set(condition.metrics or ()) - set(metrics)) if metrics is not None else []
        if unknown:
            raise ValueError(
                f"the condition {condition.name!r} asks for the metric {unknown[0]!r}, which is not among those chosen ({', '.join(metrics or ())})."
            )
    return found


def choose_domain(given: str | DomainFactory) -> DomainFactory:
    """A kind of model by name, or the one that was given.

    Raises:
        ValueError: An unknown name.
    """
    return DOMAINS[known_name("domain", given, DOMAINS)] if isinstance(given, str) else given


def names_of(given: Any) -> Any:
    """What was chosen as a config takes it: names in place of objects that have one."""
    if isinstance(given, (list, tuple)):
        return [names_of(part) for part in given]
    spec = getattr(given, "spec", given)
    return spec if isinstance(spec, str) else getattr(spec, "name", getattr(spec, "__name__", spec))


def numbered_roles(kind: str, models: Any) -> dict[str, Any]:
    """Roles of one or several models of a kind: "twin", "twin 2", …."""
    if not isinstance(models, (list, tuple)):
        return {kind: models}
    return {kind if not number else f"{kind} {number + 1}": model for number, model in enumerate(models)}


def _check_condition(condition: Condition) -> None:
    name, roles = condition.name, list(condition.roles)
    if not name or not name.isprintable() or "/" in name or "@" in name:
        raise ValueError(f"the name of a condition is one printable line without '/' and '@', got {name!r}.")
    if not roles or any(role not in ROLES and not role.startswith("twin ") for role in roles):
        raise ValueError(f"the condition {name!r} is for the roles {roles}; there are {', '.join(ROLES)}.")


def is_meant(role: str, roles: Collection[str]) -> bool:
    """Whether a condition is for a role; "twin" means all twins, or the floor would be a mean of changed and unchanged ones."""
    return role in roles or (role.startswith("twin") and "twin" in roles)


def united_needs(metrics: Collection[BaseMetric], splits: Mapping[str, Any]) -> dict[tuple[str, str], Reading]:
    """What is to be read, by reading and split, with all parts that anyone asks for, and what is read beside it.

    Args:
        metrics: The chosen ones.
        splits: The sets that were given.
    """
    found: dict[tuple[str, str], Reading] = {}
    for metric in metrics:
        for name, split in splits.items():
            wanted = [(need.split or name, need) for need in metric.spec.needs]
            missing = [need for place, need in wanted if place not in splits]
            if not is_measured(metric.spec, split) or not all(need.optional for need in missing):
                continue
            for place, need in wanted:
                if place not in splits:
                    continue
                known = found.get((need.name, place))
                parts = need.parts | (known.parts if known else frozenset())
                found[need.name, place] = Reading(need.name, parts)
    return {
        (name, place): replace(reading, beside=frozenset(other for other, where in found if where == place) - {name})
        for (name, place), reading in found.items()
    }


def measured_on(metric: BaseMetric, splits: Mapping[str, Any]) -> list[str]:
    """The sets on which a metric has a value of its own; the first alone where it has one value across them."""
    names = [name for name, split in splits.items() if is_measured(metric.spec, split)]
    order = metric.spec.splits
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return names[:1] if metric.spec.across else names
