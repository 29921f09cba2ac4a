"""A set of an audit: the data, what it is for, and what is measured on it. Knows no format and no model."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hf_unlearn.audit._contracts import SPLITS


@dataclass(frozen=True)
class AuditSet:
    """Data with what an audit must know of it.

    Attributes:
        data: As `audit` takes data: dataset, `load_dataset` spec or file.
        role: What it is for: "forget" (must go), "retain" (must stay), "holdout" (was never trained on).
        metrics: Names of the metrics that are measured on it, of those that the audit has; None = all that are measured on its role.
        prompt_template: How its questions are put, where it is not as in the rest of the audit. It is part of a report, also of a published
            one: in-context examples that are nobody's business go into `examples`.
        examples: Questions with their answers to put before each question, as data: few-shot prompts. They are put as `prompt_template` says
            (default: `data.QUESTION_TEMPLATE`), never by a chat template, and no more of them is published than of the data.

    Raises:
        ValueError: An unknown role, or no metric.
    """

    data: Any
    role: str = "retain"
    metrics: Collection[str] | None = None
    prompt_template: str | None = None
    examples: Any = None

    def __post_init__(self) -> None:
        if self.role not in SPLITS:
            raise ValueError(f"the role of a set is one of {', '.join(SPLITS)}, got {self.role!r}.")
        if self.metrics is not None and (isinstance(self.metrics, str) or not self.metrics):
            raise ValueError(f"metrics of a set are a list of names, or None for all; got {self.metrics!r}.")


def all_sets(main: Mapping[str, Any], others: Mapping[str, Any] | None, metrics: Collection[str]) -> dict[str, Any]:
    """The sets of an audit by name, forget, retain and holdout first.

    Args:
        main: "forget", "retain", "holdout": data, sets, or None where there is none.
        others: Further ones by name: sets, or data that had to stay.
        metrics: Names of the audit's metrics.

    Raises:
        ValueError: A name that cannot stand in a key or is taken, another role than the name says, or a metric that the audit does not have.
        TypeError: `others` is no mapping.
    """
    if others is not None and not isinstance(others, Mapping):
        raise TypeError(f"sets is a mapping from names to data or AuditSet, got {type(others).__name__}.")
    found = dict(main)
    for name, value in (others or {}).items():
        if not isinstance(name, str) or not name or not name.isprintable() or set("/@:") & set(name):
            raise ValueError(f"the name of a set is one printable line without '/', '@' and ':', got {name!r}.")
        if name in main:
            raise ValueError(f"the {name} set has an argument of its own: {name}=…, not sets={{{name!r}: …}}.")
        found[name] = as_set(name, value)
    for name, value in found.items():
        if not isinstance(value, AuditSet):
            continue
        if name in SPLITS and value.role != name:
            raise ValueError(f"the {name} set was given with the role {value.role!r}.")
        unknown = sorted(set(value.metrics or ()) - set(metrics))
        if unknown:
            raise ValueError(
                f"the set {name!r} asks for the metric {unknown[0]!r}, which is not among those chosen ({', '.join(metrics)})."
            )
    return found


def as_set(name: str, value: Any) -> AuditSet:
    """Data that came without a word is for what its name says, else for what had to stay."""
    return value if isinstance(value, AuditSet) else AuditSet(value, name if name in SPLITS else "retain")
