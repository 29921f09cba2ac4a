"""A whole published report beside the same one recomputed: settings, notes, reading, metrics. Runs no model."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hf_unlearn.audit import AuditReport, MetricResult
from hf_unlearn.audit._schema_1 import COUNTED_OTHERWISE, SCHEMA_1_METRICS
from hf_unlearn.publishing._claims import (
    NOT_CHECKABLE,
    NOT_REPRODUCED,
    REPRODUCED,
    Check,
    check_metric,
    unchecked,
)
from hf_unlearn.publishing._rounding import DIFFERENCES, reworded


def unchecked_report(report: AuditReport, reason: str) -> list[Check]:
    """Where nothing can be recomputed."""
    texts = [Check(name, NOT_CHECKABLE, reason) for name in ("settings", "notes", "reading")]
    return texts + [unchecked(name, result, reason) for name, result in report.metrics.items()]


OLD = "written by schema 1, which computed intervals, relative and sentences otherwise"


def check_report(
    published: AuditReport, again: AuditReport, lacking: Sequence[str], partial: Collection[str] = ()
) -> list[Check]:
    """Compare all that a report says and that can be recomputed, both ways.

    Its date and the versions it names cannot be. Of a report of schema 1, values are compared, and not what it computed otherwise.

    Args:
        published: As claimed.
        again: As recomputed, from no more models and sets than the report names.
        lacking: Models, sets, metrics and conditions that the report names and the verifier does not have.
        partial: Metrics whose value is over several sets of which some are lacking.

    Returns:
        Settings, notes and reading first, then metrics in the report's order, then those that the report left out.
    """
    old = published.schema_version == 1
    needed = ", ".join(lacking)
    words = {"notes": (published.notes, again.notes), "reading": (published.reading(), again.reading())}
    checks = [_check_settings(published.provenance.settings, again.provenance.settings, old)]
    checks += [
        Check(name, NOT_CHECKABLE, OLD) if old else _check_sentences(name, *texts, needed)
        for name, texts in words.items()
    ]
    for key, result in published.metrics.items():
        if key in again.metrics and result.name not in partial:
            found = again.metrics[key]
            checks += _check_old(key, result, found) if old else check_metric(key, result, found, needed)
        elif needed:
            checks.append(unchecked(key, result, f"needs {needed}"))
        else:
            reason = f"this version does not compute it from what the report names{_versions(published)}"
            checks.append(Check(key, NOT_REPRODUCED, reason, result.value, result.confidence_interval))
    left_out = {key: result for key, result in again.metrics.items() if key not in published.metrics}
    reason = f"the report leaves it out{_versions(published)}"
    return checks + [
        Check(key, NOT_REPRODUCED, reason, recomputed=result.value)
        for key, result in left_out.items()
        if result.name not in partial and (not old or result.name in SCHEMA_1_METRICS)
    ]


def _check_old(key: str, published: MetricResult, again: MetricResult) -> list[Check]:
    """What both schemas mean alike: values, floor, start, n, other models' values, with layers."""
    checks = check_metric(key, _common(published, again), _common(again, published), bounds=False)
    return [*checks, Check(f"{key}, the rest", NOT_CHECKABLE, OLD)]


def _common(result: MetricResult, other: MetricResult) -> MetricResult:
    """Without what only one of two results has, and without what the schemas define apart."""
    kept: dict[str, Any] = {
        name: getattr(result, name) if getattr(other, name) is not None else None
        for part in ("floor", "start")
        for name in (part, f"{part}_confidence_interval")
    }
    for part in ("floor", "start"):
        if kept[part] is None:
            kept[f"{part}_confidence_interval"] = None
    apart = ("relative", "relative_confidence_interval", "relative_reason", "ideal", "clusters")
    kept |= dict.fromkeys((*apart, *DIFFERENCES))
    if result.name in COUNTED_OTHERWISE:
        kept["n"] = 0
    return dataclasses.replace(
        result,
        **kept,
        others={role: value for role, value in result.others.items() if role in other.others},
        details={},
        undefined={},
        unit="",
        direction="none",
        by_layer={layer: _common(part, other.by_layer.get(layer, part)) for layer, part in result.by_layer.items()},
    )


def _versions(published: AuditReport) -> str:
    return f"; it names hf_unlearn {published.provenance.versions.get('hf-unlearn', 'of no version')}"


def _check_settings(published: Mapping[str, Any], again: Mapping[str, Any], old: bool) -> Check:
    nothing = object()
    names = published if old else {**published, **again}
    differ = [name for name in names if published.get(name, nothing) != again.get(name, nothing)]
    if differ:
        return Check("settings", NOT_REPRODUCED, f"differ: {', '.join(differ)}")
    return Check("settings", REPRODUCED, "the same as were used now")


def _check_sentences(name: str, published: Sequence[str], again: Sequence[str], needed: str) -> Check:
    """Sentences in their order; of their numbers only counts, since measured ones are compared with the metrics."""
    if needed:
        return Check(name, NOT_CHECKABLE, f"needs {needed}")
    claimed, found = [reworded(text) for text in published], [reworded(text) for text in again]
    if claimed == found:
        return Check(name, REPRODUCED, "the same sentences follow from what was recomputed")
    added = [text for text, words in zip(published, claimed, strict=True) if words not in found]
    gone = [text for text, words in zip(again, found, strict=True) if words not in claimed]
    shown = [f"{what} {texts[0]!r}" for what, texts in (("added or reworded:", added), ("left out:", gone)) if texts]
    return Check(name, NOT_REPRODUCED, "; ".join(shown) or "the same sentences, not in this order or number")
