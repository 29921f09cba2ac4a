"""FADE: how far the subject's distribution over answers is from the reference's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._rows import Rows
from hf_unlearn.functional import Bootstrap, Estimate, FadeEstimate, fade, mean_estimate
from hf_unlearn.inference import ScoredRows


CUT = 0.1
"""More completions than this share cut before their end is worth a sentence."""
_CUT_OF = {"truncated_reference": "the reference's", "truncated_candidate": "the candidate's"}


def _sentence(result: MetricResult) -> str | None:
    from hf_unlearn.audit._narrative import general_sentence

    said = general_sentence(result)
    cut = [f"{result.details.get(name, 0.0):.0%} of {whose}" for name, whose in _CUT_OF.items()]
    if said is None or max(result.details.get(name, 0.0) for name in _CUT_OF) <= CUT:
        return said
    return f"{said} ({' and '.join(cut)} completions were cut; the divergence of what would follow is not counted.)"


class Fade(BaseMetric):
    """KL(reference ‖ subject) + KL(subject ‖ reference) over completions, nats per sequence; 0 = equal on these prompts.

    Args:
        estimator: "exact_step" (never negative) or "sampled".
    """

    def __init__(self, estimator: str = "exact_step"):
        self.estimator = estimator
        self.spec = MetricSpec(
            name="fade",
            title="FADE",
            unit="nats per sequence",
            ideal=0.0,
            bounds=(0.0, None) if estimator == "exact_step" else (None, None),
            family="outputs",
            splits=("forget", "retain"),
            needs=(Reading("completions"),),
            headline=True,
            citation=Citation("FADE: Reference-Specific Unlearning Metrics Can Hide the Truth", "2510.12981"),
            sentence=_sentence,
            compares=True,
            better="lower",
            options=("estimator", "num_samples", "max_new_tokens"),
            without_knowledge="what two retrained models differ by, which is above 0: the floor, from a twin",
            does_not_show="What other prompts than these bring out, and what hidden states keep; one number does not say whether too little or too much was forgotten.",
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Fade":
        """With the estimator of the audit."""
        return cls(settings.get("estimator", "exact_step"))

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over prompts, which differ, over the clusters that these are about."""
        return mean_estimate(self._fade(rows).per_prompt, clusters_of_prompts(rows.groups, rows.clusters))

    def count(self, rows: Rows) -> int:
        """Prompts that differ."""
        return self._fade(rows).num_prompts

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Both directions, the value per token, samples, and what share of completions was cut."""
        found = self._fade(rows)
        table = _scored(rows)
        cut = {
            f"truncated_{whose}": float(table.column("truncated")[table.column("sampled_from") == side].mean())
            for side, whose in (("reference", "reference"), ("subject", "candidate"))
        }
        names = (
            "reference_to_candidate",
            "candidate_to_reference",
            "fade_per_token",
            "num_samples",
            "truncated_fraction",
        )
        return {name: float(getattr(found, name)) for name in names} | cut

    def _fade(self, rows: Rows) -> FadeEstimate:
        def compute() -> FadeEstimate:
            table = _scored(rows)
            sides = [("reference", "subject"), ("subject", "reference")]
            directed = [
                table.directed(sampled_from=own, scored_by=other, estimator=self.estimator, clusters=rows.groups)
                for own, other in sides
            ]
            return fade(*directed, num_resamples=1)

        return rows.memo(("fade", self.estimator), compute)


def clusters_of_prompts(prompts: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Number of each different prompt's cluster, shape `(different prompts,)`; clusters that share a prompt are one.

    Args:
        prompts: Number of each example's prompt, shape `(examples,)`.
        clusters: Number of each example's cluster, shape `(examples,)`.

    Example:
        >>> clusters_of_prompts(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2])).tolist()
        [0, 0, 1]
    """
    count, others = prompts.max() + 1, clusters.max() + 1
    linked = coo_array((np.ones(len(prompts)), (prompts, count + clusters)), shape=(count + others, count + others))
    return connected_components(linked, directed=False)[1][:count]


def _scored(rows: Rows) -> ScoredRows:
    table = rows.table("completions")
    return ScoredRows(table.drop_columns(["item"]))
