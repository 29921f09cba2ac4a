"""The way from models to evidence: what the chosen metrics need, each subject opened once, each reading taken once and kept.

Knows domains, readings and conditions by their contracts only.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hf_unlearn.audit._contracts import Condition, Domain, Reading, Subject, SubjectKey, derived_from
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._role_checks import RoleChecks
from hf_unlearn.audit._rows import Evidence
from hf_unlearn.audit._selection import is_meant, united_needs
from hf_unlearn.inference import is_main_process


logger = logging.getLogger(__name__)
STAYS_OPEN = ("reference", "original")
"""Roles that others are read together with."""


class Engine:
    """Takes the evidence of one audit.

    Args:
        domain: Of the models and sets.
        metrics: The chosen ones.
        conditions: What is done to subjects before they are read again.
        settings: The options, which metrics may look at.
        store: Where evidence is kept.
        checks: Told of every subject.
    """

    def __init__(
        self,
        domain: Domain,
        metrics: Sequence[BaseMetric],
        conditions: Sequence[Condition],
        settings: Mapping[str, Any],
        store: EvidenceStore,
        checks: RoleChecks,
    ):
        self.domain, self.metrics, self.conditions = domain, list(metrics), list(conditions)
        self.store, self.checks = store, checks
        self.evidence = Evidence(domain.splits(), settings)
        self.notes: list[str] = []
        self._open: dict[SubjectKey, Subject] = {}

    def read(self, roles: Sequence[str]) -> Evidence:
        """Open each subject once and take all that is needed of it.

        Args:
            roles: Those that were given. Reference and original are open together, and stay so; each other one is opened, read and left.
        """
        together = [role for role in STAYS_OPEN if role in roles]
        alone = sorted((role for role in roles if role not in STAYS_OPEN), key=lambda role: role != "candidate")
        for group in (together, *([role] for role in alone)):
            self._read_together(group)
        self.evidence.facts = self.domain.facts()
        return self.evidence

    def _read_together(self, roles: Sequence[str]) -> None:
        """Those roles, as they are and under each condition; nothing of them stays open that need not."""
        subjects = self._take({SubjectKey(role): self.domain.given(role) for role in roles}, self.metrics)
        for condition in self.conditions:
            for key, subject in subjects.items():
                if is_meant(key.role, condition.roles):
                    under = SubjectKey(key.role, condition.name)
                    self._take({under: condition.apply(subject)}, self.under(condition))

    def under(self, condition: Condition) -> list[BaseMetric]:
        """The metrics that are measured under a condition."""
        wanted = condition.metrics
        return [
            metric
            for metric in self.metrics
            if (metric.spec.headline if wanted is None else metric.spec.name in wanted)
        ]

    def _take(self, models: Mapping[SubjectKey, Any], metrics: Sequence[BaseMetric]) -> dict[SubjectKey, Subject]:
        """All readings of some subjects that are open at once, the cheapest reading of each first."""
        subjects: dict[SubjectKey, Subject] = {}
        for key, model in models.items():
            subjects[key] = self.domain.open(key, model)
            self.checks.opened(subjects[key])
            if key.role in STAYS_OPEN:
                self._open[key] = subjects[key]
            subjects |= {other.key: other for other in derived_from(self.domain, subjects[key])}
        needs = united_needs(metrics, self.evidence.splits)
        names = [*self.domain.versions]
        for at, name in enumerate(names):
            for key, subject in subjects.items():
                for split in self.evidence.splits:
                    if (name, split) in needs:
                        self._reading(needs[name, split], subject, split)
                if name == names[0]:
                    self._look(key, subject)
            self._look_again({other for other, _ in needs}.intersection(names[at + 1 :]))
        return subjects

    def _partner(self, role: str, condition: str) -> Subject | None:
        return self._open.get(SubjectKey(role, condition)) or self._open.get(SubjectKey(role))

    def _look(self, key: SubjectKey, subject: Subject) -> None:
        """What can be said after the cheapest reading, before the expensive ones."""
        self.checks.answered(key, self.evidence)
        if key == SubjectKey("original"):
            forget = self.evidence.splits["forget"]
            self._show_if_unknown()
            notes = self.domain.looks_odd(subject, forget)
            self.notes += notes
            for note in notes:
                if is_main_process():
                    logger.warning("%s", note)

    def _look_again(self, still: Collection[str]) -> None:
        """Where there is no reference, what the original knows is compared with further readings of its own."""
        self.evidence.facts = self.domain.facts()
        if self.checks.read(self.evidence, still):
            self._show_if_unknown()

    def _show_if_unknown(self) -> None:
        if self.checks.nothing_to_forget and is_main_process():
            example = self.domain.example(self.evidence.splits["forget"])
            logger.warning("One forget prompt as the models see it: %r", example)

    def _reading(self, reading: Reading, subject: Subject, split: str) -> None:
        partners = {role: self._partner(role, subject.key.condition) for role in STAYS_OPEN}
        others = {role: other for role, other in partners.items() if other is not None}
        task = self.domain.task(reading, subject, self.evidence.splits[split], others)
        if task is None:
            return
        version = self.domain.versions[reading.name]
        key = content_key(self.domain.name, reading.name, version, sorted(reading.parts), *task.key)
        label = f"{reading.name}-{split}-{subject.key}"
        logger.debug("reading %s: %d items, about %d tokens", label, task.count, task.cost)
        store = self.store if task.kept else EvidenceStore(None)
        table = store.table(label, key, task.count, task.compute, whole=task.whole)
        self.evidence.tables[reading.name, subject.key, split] = table
        if task.seen is not None:
            task.seen(table)
