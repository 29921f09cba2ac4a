"""What a tracker measures: the audit's engine on few rows, with everything that does not change read once. Knows no Trainer."""

import copy
import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hf_unlearn.audit._audit_set import AuditSet
from hf_unlearn.audit._contracts import Reading, Subject, SubjectKey
from hf_unlearn.audit._engine import Engine
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._measure import CANDIDATE, ORIGINAL, REFERENCE, measure
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._role_checks import RoleChecks
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit._selection import STANDARD, MetricLike, choose_metrics, measured_on, united_needs
from hf_unlearn.audit.metrics._answers import mean_log_probs
from hf_unlearn.functional import Bootstrap
from hf_unlearn.training._tracked_names import has_place, value_name, values_of


logger = logging.getLogger(__name__)
NUM_RESAMPLES = 200
"""Of the intervals of values that change with the next step."""
NO_INTERVAL = Bootstrap(num_resamples=1)
"""For values whose interval nobody sees."""
Attempt = Callable[[str, Callable[[], Any]], Any]
"""Does something under a name; None where it failed, now or before."""


class TrackedMetrics(Engine):
    """Metrics of a model in training. Reference, original and twin are read here, the candidate at every call.

    Args:
        domain: Of the models and sets: `TextsInTraining` or `ClassesInTraining`.
        metrics: See `tracked_metrics`.
        settings: Options that metrics may look at.
        seed: Of the intervals.

    Attributes:
        places: Each metric's spec with each set it is measured on.
        results: What was found last, by name of the value.
        reasons: Why a value never was there, by its name.
    """

    def __init__(self, domain: Any, metrics: Sequence[BaseMetric], settings: Mapping[str, Any], *, seed: int):
        uncertainty = Bootstrap(num_resamples=NUM_RESAMPLES, seed=seed)
        super().__init__(domain, metrics, (), settings, EvidenceStore(None), RoleChecks(uncertainty.confidence))
        self.domain: Any = domain
        self.uncertainty = uncertainty
        self._attempt: Attempt | None = None
        sets = self.evidence.splits
        self._pairs = [(metric, split) for metric in metrics for split in measured_on(metric, sets)]
        self.places = [(metric.spec, split) for metric, split in self._pairs]
        self.results: dict[str, MetricResult] = {}
        self.reasons: dict[str, str] = {}
        self._went_well: set[tuple[str, str]] = set()
        self.read(list(domain.views))  # everyone who does not change
        stay = domain.let_go(list(united_needs(metrics, sets).values()))
        self._open = {key: subject for key, subject in self._open.items() if key.role in stay}

    def __call__(self, attempt: Attempt) -> dict[str, float]:
        """All values now, by their names in the log; NaN where there was one once and the model gives none any more.

        Args:
            attempt: What becomes of a reading or a metric that fails.
        """
        self.evidence.drop(SubjectKey(CANDIDATE))
        self._attempt = attempt
        self.read([CANDIDATE])
        self._attempt = None
        values: dict[str, float] = {}
        for metric, split in self._pairs:
            name = value_name(metric.spec, split)
            if not self._was_read(metric, split):
                self._say_missing(metric, name, "nothing that it needs can be read here")
                continue
            found = attempt(name, functools.partial(self._result, metric, split))
            if isinstance(found, MetricResult):
                self.results[name] = found
                values |= values_of(metric.spec, found)
            elif isinstance(found, str) and name in self.results:
                values[name] = math.nan
            elif isinstance(found, str):
                self._say_missing(metric, name, found)
        return values

    def _say_missing(self, metric: BaseMetric, name: str, why: str) -> None:
        """Once, and aloud only of what was asked for by name."""
        if name not in self.reasons:
            level = logging.DEBUG if metric.spec.name in self.domain.default else logging.WARNING
            logger.log(level, "%s is not tracked: %s.", name, why)
            self.reasons[name] = why

    @property
    def reference_log_probs(self) -> np.ndarray | None:
        """Mean token log-probability of each forget answer under the reference, nats; None without one."""
        rows = Rows(self.evidence, SubjectKey(REFERENCE), "forget")
        return mean_log_probs(rows) if rows.has("answers") else None

    def _was_read(self, metric: BaseMetric, split: str) -> bool:
        wanted = [(need.name, need.split or split) for need in metric.spec.needs if not need.optional]
        return all(self._is_there(*place) for place in wanted)

    def _is_there(self, reading: str, split: str) -> bool:
        """Whether the candidate was read so; or, where that went well and left nothing, the original, which alone is asked some things."""
        tables = self.evidence.tables
        alone = (reading, split) in self._went_well and (reading, SubjectKey(ORIGINAL), split) in tables
        return alone or (reading, SubjectKey(CANDIDATE), split) in tables

    def _result(self, metric: BaseMetric, split: str) -> MetricResult | str:
        try:
            return measure(
                metric, self.evidence, split, "", self.uncertainty if has_place(metric.spec) else NO_INTERVAL
            )
        except ValueError:
            if self._is_finite():
                raise
            return "the model gives no numbers any more"

    def _is_finite(self) -> bool:
        """Whether everything that was read of the candidate is a number."""
        mine = [table for (_, key, _), table in self.evidence.tables.items() if key.role == CANDIDATE]
        return all(_finite(column) for table in mine for column in table.columns)

    def _reading(self, reading: Reading, subject: Subject, split: str) -> None:
        if self._attempt is None:
            super()._reading(reading, subject, split)
            return
        take, place = super()._reading, (reading.name, split)

        def work() -> bool:
            take(reading, subject, split)
            return True

        went_well = self._attempt(f"reading {reading.name} of {split}", work)
        (self._went_well.add if went_well else self._went_well.discard)(place)

    def _look_again(self, still: Collection[str]) -> None:
        """Likewise."""

    def _look(self, key: SubjectKey, subject: Subject) -> None:
        """What the roles are to each other is asked before training, see `say_if_unknown`."""


def tracked_metrics(
    given: str | Sequence[MetricLike] | None,
    domain: Any,
    roles: Collection[str],
    sets: Mapping[str, object],
    settings: Mapping[str, Any],
) -> list[BaseMetric]:
    """The metrics that a tracker measures.

    Args:
        given: As for `audit`; None: the domain's own choice, which compares with the reference on the forget set alone.
        domain: Of the models and sets, or its class.
        roles: Of the models that were given.
        sets: By name; None where there is none.
        settings: Options that metrics may look at.

    Raises:
        TypeError: Neither names nor metrics.
        ValueError: An unknown name, or a metric that has no value here; says why.
    """
    chosen = choose_metrics(domain.default if given is None else given, settings)
    present = {name: AuditSet(rows, name) for name, rows in sets.items() if rows is not None}
    reasons = {metric.spec.name: _why_not(metric, domain, roles, present) for metric in chosen}
    if given is not None and given != STANDARD:
        for name, reason in reasons.items():
            if reason is not None:
                raise ValueError(f"{name} cannot be tracked: {reason}.")
    possible = [metric for metric in chosen if reasons[metric.spec.name] is None]
    return (
        [_on_forget(metric) if metric.spec.compares else metric for metric in possible] if given is None else possible
    )


def _why_not(metric: BaseMetric, domain: Any, roles: Collection[str], sets: Mapping[str, Any]) -> str | None:
    spec = metric.spec
    wanted = [
        *(["reference"] if spec.compares and not spec.assumes else []),
        *spec.requires,
        *(["original"] if spec.assumes else []),
    ]
    missing = [role for role in dict.fromkeys(wanted) if role not in roles]
    if missing:
        return f"it needs {' and '.join(missing)}"
    unread = [need.name for need in spec.needs if need.name not in domain.versions and not need.optional]
    if unread:
        return f"there is no reading {unread[0]!r} of this kind of model"
    if not united_needs([metric], sets):
        needed = {need.split for need in spec.needs if need.split} or set(spec.splits)
        return f"it needs a {' and a '.join(sorted(needed - set(sets)))} set"
    return None


def _on_forget(metric: BaseMetric) -> BaseMetric:
    one = copy.copy(metric)
    one.spec = dataclasses.replace(metric.spec, splits=("forget",))
    return one


def _finite(column: pa.ChunkedArray) -> bool:
    flat = column.combine_chunks()
    while pa.types.is_nested(flat.type):
        flat = flat.flatten()
    return not pa.types.is_floating(flat.type) or bool(
        np.isfinite(flat.drop_null().to_numpy(zero_copy_only=False)).all()
    )
