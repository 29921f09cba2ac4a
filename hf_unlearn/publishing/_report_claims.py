"""A whole published report beside the same one recomputed: settings, notes, reading, metrics. Runs no model."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_unlearn.audit import AuditReport
from hf_unlearn.publishing._claims import (
    NOT_CHECKABLE,
    NOT_REPRODUCED,
    REPRODUCED,
    Check,
    check_metric,
    unchecked,
)
from hf_unlearn.publishing._rounding import reworded


def unchecked_report(report: AuditReport, reason: str) -> list[Check]:
    """Where nothing can be recomputed."""
    texts = [Check(name, NOT_CHECKABLE, reason) for name in ("settings", "notes", "reading")]
    return texts + [unchecked(name, result, reason) for name, result in report.metrics.items()]


def check_report(published: AuditReport, again: AuditReport, lacking: Sequence[str]) -> list[Check]:
    """Compare all that a report says and that can be recomputed, both ways.

    Its date and the versions it names cannot be.

    Args:
        published: As claimed.
        again: As recomputed, from no more models and sets than the report names.
        lacking: Models and sets that the report names and the verifier does not have.

    Returns:
        Settings, notes and reading first, then metrics in the report's order, then those that the report left out.
    """
    needed = ", ".join(lacking)
    checks = [
        _check_settings(published.provenance.settings, again.provenance.settings),
        _check_sentences("notes", published.notes, again.notes, needed),
        _check_sentences("reading", published.reading(), again.reading(), needed),
    ]
    for name, result in published.metrics.items():
        if name in again.metrics:
            checks += check_metric(name, result, again.metrics[name], needed)
        elif needed:
            checks.append(unchecked(name, result, f"needs {needed}"))
        else:
            reason = f"this version does not compute it from what the report names{_versions(published)}"
            checks.append(Check(name, NOT_REPRODUCED, reason, result.value, result.confidence_interval))
    left_out = [name for name in again.metrics if name not in published.metrics]
    reason = f"the report leaves it out{_versions(published)}"
    return checks + [Check(name, NOT_REPRODUCED, reason, recomputed=again.metrics[name].value) for name in left_out]


def _versions(published: AuditReport) -> str:
    return f"; it names hf_unlearn {published.provenance.versions.get('hf-unlearn', 'of no version')}"


def _check_settings(published: Mapping[str, Any], again: Mapping[str, Any]) -> Check:
    nothing = object()
    differ = [name for name in {**published, **again} if published.get(name, nothing) != again.get(name, nothing)]
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
