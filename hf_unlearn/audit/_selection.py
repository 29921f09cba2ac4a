"""Which metrics an audit has: by name, "standard", or objects; and what they need to be read, united."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hf_unlearn.audit._contracts import Reading
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit.metrics import METRICS


STANDARD = "standard"
MetricLike = str | BaseMetric


def choose_metrics(given: str | Sequence[MetricLike], settings: Mapping[str, Any]) -> list[BaseMetric]:
    """Metrics by name, in the order of the registry, then objects as they came.

    Args:
        given: "standard", one name, or names and objects.
        settings: The options of the audit, for metrics that want them.

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
            names += _standard() if part == STANDARD else [_known(part)]
        else:
            raise TypeError(f"metrics are names or metric objects, got {type(part).__name__}.")
    ordered = [METRICS[name].from_settings(settings) for name in METRICS if name in names]
    found = ordered + objects
    if not found:
        raise ValueError(f"metrics names no metric; there are {', '.join(METRICS)}, or {STANDARD!r}.")
    used = [metric.spec.name for metric in found]
    twice = sorted({name for name in used if used.count(name) > 1})
    if twice:
        raise ValueError(f"the metric {twice[0]!r} is there twice.")
    return found


def _standard() -> list[str]:
    return [name for name, metric in METRICS.items() if metric.from_settings({}).spec.standard]


def _known(name: str) -> str:
    if name in METRICS:
        return name
    close = difflib.get_close_matches(name, METRICS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"there is no metric {name!r}; there are {', '.join(METRICS)}.{hint}")


def united_needs(metrics: Collection[BaseMetric], splits: Collection[str]) -> dict[tuple[str, str], Reading]:
    """What is to be read, by reading and split, with all parts that anyone asks for.

    Args:
        metrics: The chosen ones.
        splits: The sets that were given.
    """
    found: dict[tuple[str, str], Reading] = {}
    for metric in metrics:
        for split in metric.spec.splits:
            wanted = [(need.split or split, need) for need in metric.spec.needs]
            if split not in splits or any(place not in splits for place, _ in wanted):
                continue
            for place, need in wanted:
                known = found.get((need.name, place))
                parts = need.parts | (known.parts if known else frozenset())
                found[need.name, place] = Reading(need.name, parts)
    return found
