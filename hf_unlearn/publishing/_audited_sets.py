"""The verifier's data as the sets that a published report is about: role, metrics and template are what the report says. Runs no model."""

from collections.abc import Collection, Mapping
from typing import Any

from hf_unlearn.audit import AuditReport, AuditSet
from hf_unlearn.audit._audit_set import as_set
from hf_unlearn.audit._contracts import SPLITS, MetricSpec


def audited_sets(
    report: AuditReport, main: Mapping[str, Any], others: Mapping[str, Any], metrics: Collection[str]
) -> tuple[dict[str, AuditSet], dict[str, str]]:
    """The sets to measure again, and what is lacking of others that the report names.

    Args:
        report: As published.
        main: The verifier's "forget", "retain", "holdout"; None where there is none.
        others: The verifier's further ones, by name.
        metrics: Names of those that can be measured here.

    Returns:
        Sets by name; and by name of a set what is needed, in words.

    Raises:
        ValueError: The report describes a set as none can be.
    """
    found: dict[str, AuditSet] = {}
    lacking: dict[str, str] = {}
    for name, described in {"forget": {}, **report.provenance.data}.items():
        data = main.get(name) if name in SPLITS else others.get(name)
        if data is None:
            lacking[name] = f"the {name}" + ("" if name in SPLITS else " set")
            continue
        given = as_set(name, data)
        named = [part for part in str(described.get("metrics", "")).split(",") if part]
        known = tuple(part for part in named if part in metrics)
        if "examples" in described and given.examples is None:
            lacking[name] = f"the in-context examples of the {name} set"
        elif named and not known:
            lacking[name] = f"the metrics of the {name} set"
        else:
            role, template = (
                described.get("role", name if name in SPLITS else "retain"),
                described.get("prompt_template"),
            )
            examples = given.examples if "examples" in described else None
            found[name] = AuditSet(
                given.data, str(role), known or None, None if template is None else str(template), examples
            )
    return found, lacking


def spread_over(report: AuditReport, lacking: Collection[str], specs: Mapping[str, MetricSpec]) -> set[str]:
    """Names of metrics with one value over several sets, some of which are lacking.

    Args:
        report: As published.
        lacking: Names of sets.
        specs: Of the metrics, by name.
    """
    data = report.provenance.data
    roles = {str(data[name].get("role", name if name in SPLITS else "retain")) for name in lacking if name in data}
    return {name for name, spec in specs.items() if spec.across and roles & set(spec.splits)}
