"""Membership attacks: are forget texts still told from texts that no model has seen?"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._rows import Rows
from hf_unlearn.functional import Bootstrap, Estimate, auc_estimate, tpr_at_fpr, tpr_interval


MUSES_K = 0.4
"""The share of tokens of Min-K% in MUSE and open-unlearning."""
FEWEST_FOR_HITS = 100
"""Holdout texts below which 1 % of false alarms is no number of them."""
_HITS = "tpr_at_1_percent_fpr"


def membership_spec(
    name: str,
    title: str,
    unit: str,
    citation: Citation,
    *,
    reading: str = "answers",
    standard: bool = False,
    compares: bool = False,
    options: tuple[str, ...] = (),
) -> MetricSpec:
    """The spec of an attack's AUC."""
    same = "0.5, give or take the noise of retraining" if compares else ""
    return MetricSpec(
        name=name,
        title=title,
        unit=unit,
        # Forget and holdout texts differ in more than membership, so that a retrained model is not at 0.5 either.
        ideal=0.5 if compares else "reference",
        bounds=(0.0, 1.0),
        family="membership",
        splits=("forget",),
        needs=(Reading(reading), Reading(reading, split="holdout")),
        citation=citation,
        standard=standard,
        compares=compares,
        requires=("reference",) if compares else (),
        options=options,
        without_knowledge=same
        or "the reference's own AUC: 0.5 only where forget and holdout texts are equally likely to a model that saw neither",
        does_not_show="An AUC as after retraining does not show that nothing can be extracted, or that no single text is exposed: it is an average "
        "over texts, of one attack. Where forget and holdout texts differ in kind, an AUC far from 0.5 does not show membership.",
    )


class MembershipMetric(BaseMetric):
    """AUC of an attack that tells forget texts (members) from holdout texts (non-members); subclasses give the scores."""

    @abstractmethod
    def scores(self, rows: Rows) -> np.ndarray:
        """One per example, higher = more likely a member; shape `(examples,)`.

        Raises:
            Undefined: There are none here; says why.
        """

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The area under the curve, with DeLong's influences over the clusters of both sets."""
        return self.area(rows)

    def area(self, rows: Rows) -> Estimate:
        """Of one subject, whatever the value of the metric is."""
        found, others = self._sides(rows)
        clusters = rows.clusters, rows.on("holdout").clusters
        return auc_estimate(found, others, np.concatenate([clusters[0], clusters[1] + clusters[0].max() + 1]))

    def count(self, rows: Rows) -> int:
        """Texts of both sets."""
        return rows.count + rows.on("holdout").count

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Share of forget texts found at 1 % of false alarms, and its interval where rows are independent."""
        found, others = self._sides(rows)
        hits = tpr_at_fpr(found, others)
        if hits is None:
            return {}
        if any(len(np.unique(side.clusters)) < side.count for side in (rows, rows.on("holdout"))):
            return {_HITS: hits}
        interval = tpr_interval(found, others, confidence=uncertainty.confidence)
        assert interval is not None
        return {_HITS: hits, f"{_HITS}_low": interval[0], f"{_HITS}_high": interval[1]}

    def notes(self, rows: Rows) -> list[str]:
        """Why there is no share of hits."""
        count = rows.on("holdout").count
        if count >= FEWEST_FOR_HITS:
            return []
        return [
            f"Of membership attacks the share of texts found at 1 % of false alarms is not given: {count} holdout texts are too few to know 1 %, "
            f"{FEWEST_FOR_HITS} are needed."
        ]

    def _sides(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        holdout = rows.on("holdout")
        return self._checked(rows), self._checked(holdout)

    def _checked(self, rows: Rows) -> np.ndarray:
        found = self.scores(rows)
        missing = int(np.isnan(found).sum())
        if missing:
            raise Undefined(
                f"the {rows.subject} gives NaN for {missing} of {len(found)} {rows.split} texts, which have no place among the others"
            )
        return found


class LowestShareMetric(MembershipMetric):
    """An attack by the share of an answer's tokens that score lowest.

    Args:
        k: The share, in (0, 1].
    """

    def __init__(self, k: float = 0.2):
        self.k = k

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "LowestShareMetric":
        """With the field's share where its numbers are wanted."""
        return cls(MUSES_K) if settings.get("compatible") else cls()

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The share of the tokens, and hits at 1 % of false alarms."""
        return {"k": self.k, **super().details(rows, uncertainty)}


def per_answer(rows: Rows, *names: str) -> list[tuple[np.ndarray, ...]]:
    """Numbers per token of each answer, of each of these columns of `answers`.

    Raises:
        Undefined: A token has none; names the model.
    """
    columns = []
    for name in names:
        values, lengths = rows.per_token("answers", name)
        parts = np.split(values.astype(np.float64), np.cumsum(lengths)[:-1])
        broken = sum(bool(np.isnan(part).any()) for part in parts)
        if broken:
            raise Undefined(f"the {rows.subject} gives NaN in {broken} of {len(parts)} {rows.split} answers")
        columns.append(parts)
    return list(zip(*columns, strict=True))


def without_last(columns: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """As open-unlearning reads an answer: its last token is left out as the end token, which it need not be."""
    return tuple(column[:-1] for column in columns)
