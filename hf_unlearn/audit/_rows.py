"""What a metric looks at: tables of readings, from one subject's point of view, on one split, at one layer. Runs no model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from hf_unlearn.audit._contracts import Split, SubjectKey, Undefined, role_of


Value = TypeVar("Value")
FEATURE = "feature_"
"""Columns of pooled hidden states: `feature_<layer>`, fixed-size lists."""


@dataclass
class Evidence:
    """Everything that was read.

    Attributes:
        splits: The sets, by name.
        settings: The options of the audit.
        tables: By reading, subject and split.
        facts: What the domain knows beside tables.
    """

    splits: Mapping[str, Split]
    settings: Mapping[str, Any]
    tables: dict[tuple[str, SubjectKey, str], pa.Table] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    _memo: dict[Any, Any] = field(default_factory=dict)

    def memo(self, key: Any, compute: Callable[[], Value]) -> Value:
        """What several metrics need, computed once."""
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]

    def drop(self, subject: SubjectKey) -> None:
        """Drop what was read of a subject, and what was worked out with it: it is about to be read again, and has changed."""
        self.tables = {place: table for place, table in self.tables.items() if place[1] != subject}
        others = {place[1] for place in self.tables}
        self._memo = {key: value for key, value in self._memo.items() if not others.isdisjoint(_parts(key))}

    def roles(self) -> list[str]:
        """Who was read, in order, each role once."""
        return list(dict.fromkeys(key.role for _, key, _ in self.tables))


def _parts(key: Any) -> tuple[Any, ...]:
    """Of a key of the memo, those that may be a subject."""
    return tuple(part for part in key if isinstance(part, SubjectKey)) if isinstance(key, tuple) else ()


@dataclass(frozen=True)
class Rows:
    """Readings from the point of view of one subject.

    Attributes:
        evidence: Everything that was read.
        subject: Whose value is wanted.
        split: On which set.
        layer: At which layer, for metrics by layer.
    """

    evidence: Evidence
    subject: SubjectKey
    split: str
    layer: int | None = None

    def of(self, role: str) -> "Rows":
        """The same from another role's point of view; under the same condition, if that role was read under it."""
        under = SubjectKey(role, self.subject.condition)
        known = any(key == under for _, key, _ in self.evidence.tables)
        return replace(self, subject=under if known else SubjectKey(role))

    def on(self, split: str) -> "Rows":
        """The same on another set.

        Raises:
            Undefined: There is none.
        """
        if split not in self.evidence.splits:
            raise Undefined(f"it needs a {split} set")
        return replace(self, split=split)

    def at(self, layer: int | None) -> "Rows":
        """The same at another layer."""
        return replace(self, layer=layer)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options of the audit."""
        return self.evidence.settings

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the domain knows beside tables."""
        return self.evidence.facts

    def sets(self, role: str | None = None) -> list[str]:
        """Names of the sets of a role, by default of this set's own, in the order in which they were given."""
        role = role or role_of(self.evidence.splits[self.split])
        return [name for name, split in self.evidence.splits.items() if role_of(split) == role]

    @property
    def texts(self) -> Sequence[str]:
        """What is to be answered in each example, as text, shape `(examples,)`.

        Raises:
            Undefined: Answers are no text here.
        """
        return self._as_text("answer")

    @property
    def questions(self) -> Sequence[str]:
        """What is asked in each example, as text, shape `(examples,)`.

        Raises:
            Undefined: Questions are no text here.
        """
        return self._as_text("question")

    def _as_text(self, what: str) -> Sequence[str]:
        found = getattr(self.evidence.splits[self.split], f"{what}_texts", None)
        if found is None:
            raise Undefined(f"the {what}s of the {self.split} set are no text")
        return found

    @property
    def count(self) -> int:
        """Examples of the split."""
        return len(self.evidence.splits[self.split])

    @property
    def clusters(self) -> np.ndarray:
        """Number of each example's cluster, shape `(examples,)`."""
        return self.evidence.splits[self.split].clusters

    @property
    def groups(self) -> np.ndarray:
        """Number of what each example answers, shape `(examples,)`."""
        return self.evidence.splits[self.split].groups

    def has(self, reading: str) -> bool:
        """Whether the subject was read so."""
        return (reading, self.subject, self.split) in self.evidence.tables

    def table(self, reading: str) -> pa.Table:
        """A reading of the subject, sorted by item.

        Raises:
            Undefined: It was not taken.
        """
        if not self.has(reading):
            raise Undefined(f"there is no reading {reading!r} of the {self.subject} on the {self.split} set")
        return self.evidence.tables[reading, self.subject, self.split]

    def column(self, reading: str, name: str) -> np.ndarray:
        """A column of numbers, shape `(items,)`, or of lists of one length, shape `(items, length)`."""
        table = self.table(reading)
        if name not in table.column_names:
            raise Undefined(f"the reading {reading!r} of the {self.subject} has no {name!r}")
        column = table.column(name).combine_chunks()
        if not pa.types.is_list(column.type) and not pa.types.is_fixed_size_list(column.type):
            return column.to_numpy(zero_copy_only=False)
        if column.null_count:
            raise Undefined(f"the reading {reading!r} of the {self.subject} has no {name!r} for some items")
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)

    def per_token(self, reading: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of lists of unequal length, end to end, shape `(tokens,)`, and how long each is, shape `(items,)`."""
        table = self.table(reading)
        if name not in table.column_names:
            raise Undefined(f"the reading {reading!r} of the {self.subject} has no {name!r}")
        column = table.column(name).combine_chunks()
        return column.flatten().to_numpy(zero_copy_only=False), np.diff(column.offsets.to_numpy())

    def layers(self, reading: str = "answers") -> list[int]:
        """Layers whose pooled states were read."""
        if not self.has(reading):
            return []
        names = self.table(reading).column_names
        return sorted(int(name.removeprefix(FEATURE)) for name in names if name.startswith(FEATURE))

    def features(self, layer: int | None = None) -> np.ndarray:
        """Pooled hidden states at a layer (default: the one asked about), float64, shape `(examples, width)`."""
        layer = self.layer if layer is None else layer
        matrix = self.evidence.memo(
            ("features", self.subject, self.split, layer), lambda: self.column("answers", f"{FEATURE}{layer}")
        )
        return matrix.astype(np.float64)

    def memo(self, key: Any, compute: Callable[[], Value]) -> Value:
        """What several metrics need of this subject here, computed once."""
        return self.evidence.memo((key, self.subject, self.split, self.layer), compute)
