"""Are the models what they are said to be, and was there anything to forget? Asked before the expensive part, told loudly, kept in the report.

Makes a small distance that says nothing visible: an original that never knew the answers, one model in two roles, a reference that was never
trained on what had to stay. Works on any reading that has the true answers' log-probabilities. Runs no model.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from hf_unlearn.audit._contracts import Split, Subject, SubjectKey, Undefined
from hf_unlearn.audit._findings import Finding
from hf_unlearn.audit._rows import Evidence, Rows
from hf_unlearn.audit.metrics._answers import mean_log_probs
from hf_unlearn.functional import FEW_CLUSTERS, PriorKnowledge, prior_knowledge
from hf_unlearn.inference import is_main_process


logger = logging.getLogger(__name__)
STAND_IN = "counterfactual_answers"
"""The reading of what the original says of unseen subjects."""
OF_KNOWLEDGE = ("known before", "not known before", "known better after", "not checked")
"""Kinds of findings on whether there was anything to forget."""
ANOTHER_MODEL = (
    "Give each role a model of its own. (PEFT's merge_and_unload changes the model that the adapter was made from and returns it; load each "
    "model for itself.)"
)
FAR_BEHIND = 1.0
"""Nats per token on the retain answers, a factor of e in their probability. Retrainings on the same rows differ by little there; a model
that was never trained on them lacks several nats."""


class RoleChecks:
    """Findings, as subjects are read; each is logged as soon as it is known, while the rest can still be stopped.

    Args:
        confidence: Of the intervals.
        has_reference: Whether the original is compared with one; else with itself, on unseen subjects or on the holdout set.
    """

    def __init__(self, confidence: float, *, has_reference: bool = True):
        self.confidence, self.has_reference = confidence, has_reference
        self.findings: list[Finding] = []
        self._first: dict[str, str] = {}

    def opened(self, subject: Subject) -> None:
        """Refuse a model that had another role before, used in the same way; a candidate that equals the original is poor, and noted.

        Raises:
            ValueError: Names both roles. What was read so far is kept.
        """
        if subject.key.condition:
            return
        first = self._first.setdefault(subject.fingerprint, subject.key.role)
        if first == subject.key.role:
            return
        finding = Finding("equal", first, subject.key.role)
        if finding.is_void:
            raise ValueError(f"{finding.sentence} {ANOTHER_MODEL}")
        self._add(finding)

    def answered(self, key: SubjectKey, evidence: Evidence) -> None:
        """What follows once a subject's answers are read; the reference comes first, then the original."""
        if key.condition or not _has_log_probs(evidence, key, "forget"):
            return
        if key.role == "original" and self.has_reference:
            self._add(_known_before(_gap(evidence, "reference", "forget", self.confidence)))
        if key.role == "original" or key.role.startswith("twin"):
            self._add(_not_retrained(evidence, "reference" if key.role == "original" else key.role, self.confidence))

    def read(self, evidence: Evidence, still: Collection[str]) -> bool:
        """The same where there is no reference: as soon as what the original knows of its own can be compared.

        Args:
            evidence: So far.
            still: Readings that are still to come.

        Returns:
            Whether this decided it.
        """
        mine = SubjectKey("original")
        done = any(finding.kind in OF_KNOWLEDGE for finding in self.findings)
        if self.has_reference or done or STAND_IN in still or not _has_log_probs(evidence, mine, "forget"):
            return False
        gap, other = _gap_to_unseen(evidence, self.confidence), "stand-in"
        if gap is None:
            gap, other = _gap_to_holdout(evidence, self.confidence), "holdout"
        if gap is None:
            return False
        self._add(_known_before(gap, other))
        return True

    @property
    def nothing_to_forget(self) -> bool:
        """Whether the original was found not to know the forget answers better than what it is compared with."""
        return any(finding.kind in ("not known before", "known better after") for finding in self.findings)

    def finish(self, roles: Sequence[str]) -> tuple[Finding, ...]:
        """All of them, and what could not be checked.

        Args:
            roles: Those that were given.
        """
        if "original" not in roles:
            self.findings.append(Finding("not checked", "original", reason="that takes the original"))
        elif not any(finding.kind in OF_KNOWLEDGE for finding in self.findings):
            reason = "the answers' probabilities were not read"
            if not self.has_reference:
                reason += ", or nothing to compare them with: a reference, unseen subjects, or a holdout set"
            self.findings.append(Finding("not checked", "original", reason=reason))
        return tuple(self.findings)

    def _add(self, finding: Finding | None) -> None:
        if finding is None:
            return
        self.findings.append(finding)
        if finding.sentence and finding.kind != "not checked" and is_main_process():
            logger.warning("%s", finding.sentence)


def _has_log_probs(evidence: Evidence, key: SubjectKey, split: str) -> bool:
    found = evidence.tables.get(("answers", key, split))
    return found is not None and "log_probs" in found.column_names


def _gap(evidence: Evidence, role: str, split: str, confidence: float) -> PriorKnowledge | None:
    """How much better the original knows the answers than another role."""
    keys = [SubjectKey("original"), SubjectKey(role)]
    if not all(_has_log_probs(evidence, key, split) for key in keys):
        return None
    sets: Mapping[str, Split] = evidence.splits
    try:
        original, other = (mean_log_probs(Rows(evidence, key, split)) for key in keys)
    except Undefined:
        return None
    return prior_knowledge(original, other, paired=True, clusters=sets[split].clusters, confidence=confidence)


def _gap_to_unseen(evidence: Evidence, confidence: float) -> PriorKnowledge | None:
    """How much better the original knows the answers where the question names its subject than where it names one that it has never seen."""
    mine = SubjectKey("original")
    found = evidence.tables.get((STAND_IN, mine, "forget"))
    if found is None or not len(found):
        return None
    rows = Rows(evidence, mine, "forget")
    (log_probs, counts), (tokens, _) = (rows.per_token(STAND_IN, name) for name in ("log_probs", "num_tokens"))
    cuts = np.cumsum(counts)[:-1]
    unseen = np.array([part.mean() for part in np.split(log_probs / tokens, cuts)])
    examples = rows.column(STAND_IN, "example")
    about = evidence.facts.get("counterfactual", {}).get("forget", {}).get("clusters")
    clusters = (rows.clusters if about is None else about)[examples]
    return prior_knowledge(
        mean_log_probs(rows)[examples], unseen, paired=True, clusters=clusters, confidence=confidence
    )


def _gap_to_holdout(evidence: Evidence, confidence: float) -> PriorKnowledge | None:
    """How much better the original knows the forget answers than answers that it never saw; other ones, so unpaired."""
    mine, sets = SubjectKey("original"), evidence.splits
    if not _has_log_probs(evidence, mine, "holdout"):
        return None
    try:
        forget, holdout = (mean_log_probs(Rows(evidence, mine, split)) for split in ("forget", "holdout"))
    except Undefined:
        return None
    clusters = {"clusters": sets["forget"].clusters, "baseline_clusters": sets["holdout"].clusters}
    return prior_knowledge(forget, holdout, paired=False, confidence=confidence, **clusters)


def _known_before(gap: PriorKnowledge | None, other: str = "") -> Finding:
    if gap is None or gap.confidence_interval is None:
        return Finding("not checked", "original", reason="there are too few forget prompts")
    if not gap.clear and gap.n < FEW_CLUSTERS and gap.advantage > FAR_BEHIND:
        # So few examples cannot show it, however much better the original knows them.
        few = f"{gap.n} independent prompts, people or texts are too few to tell"
        return Finding("not checked", "original", reason=few)
    kind = (
        "known before" if gap.clear else "known better after" if gap.confidence_interval[1] < 0 else "not known before"
    )
    return Finding(kind, "original", other, gap.advantage, gap.confidence_interval, gap.n)


def _not_retrained(evidence: Evidence, role: str, confidence: float) -> Finding | None:
    gap = _gap(evidence, role, "retain", confidence)
    if gap is None or not gap.clear or gap.advantage <= FAR_BEHIND:
        return None
    return Finding("not retrained", role, "", gap.advantage, gap.confidence_interval, gap.n)
