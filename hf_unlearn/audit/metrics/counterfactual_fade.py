"""Counterfactual FADE: how far the subject's answers are from what the original says to the same questions about subjects that it has never seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_unlearn.audit._contracts import MetricSpec, Reading, Undefined
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit._verdict import KNOWN_BETTER
from hf_unlearn.audit.metrics._answers import mean_log_probs
from hf_unlearn.audit.metrics._counterfactual import (
    ANSWERS,
    COMPLETIONS,
    FLOOR_ROLES,
    OPTIONS,
    OURS,
    clusters_of,
    notes_on,
    require_questions,
    said_answers,
)
from hf_unlearn.audit.metrics.fade import CUT, clusters_of_prompts
from hf_unlearn.functional import Bootstrap, Estimate, FadeEstimate, fade, mean_estimate
from hf_unlearn.inference import ScoredRows


STAND_IN = "stand-in"


def _sentence(result: MetricResult) -> str | None:
    from hf_unlearn.audit._narrative import general_sentence

    said, details = general_sentence(result), result.details
    if said is None:
        return None
    holdout = f", to holdout answers {details['holdout_probability']:.2f}" if "holdout_probability" in details else ""
    beside = (
        f"Beside it: the candidate gives forget answers a mean token probability of {details['forget_probability']:.2f}{holdout}, the stand-in "
        f"{details['stand_in_forget_probability']:.2f}; {details['stand_in_forget_answers']:.0%} of the stand-in's own completions are forget "
        f"answers, names exchanged, and what it leaks so a candidate may say unnoticed.{_leak(details)}"
    )
    cut = {
        who: details.get(f"truncated_{name}", 0.0)
        for who, name in (("the stand-in's", "stand_in"), ("the candidate's", "candidate"))
    }
    if max(cut.values()) > CUT:
        beside += f" {' and '.join(f'{share:.0%} of {who}' for who, share in cut.items())} completions were cut."
    return f"{said} {beside}"


def _leak(details: Mapping[str, float]) -> str:
    if "leak" not in details:
        return ""
    return f" It tells unseen names {details['leak']:.0%} of what the original knows of these answers."


class CounterfactualFade(BaseMetric):
    """KL(stand-in ‖ subject) + KL(subject ‖ stand-in) over completions, each model on its own question, nats per sequence.

    Args:
        estimator: "exact_step" (never negative) or "sampled".
    """

    def __init__(self, estimator: str = "exact_step"):
        self.estimator = estimator
        self.spec = MetricSpec(
            name="counterfactual_fade",
            title="counterfactual FADE",
            short="cf. FADE",
            unit="nats per sequence",
            ideal=0.0,
            bounds=(0.0, None) if estimator == "exact_step" else (None, None),
            family="outputs",
            splits=("forget",),
            needs=(COMPLETIONS, ANSWERS, Reading("answers"), Reading("answers", split="holdout", optional=True)),
            headline=True,
            standard=False,
            citation=OURS,
            sentence=_sentence,
            requires=("original",),
            better="lower",
            options=("estimator", "max_new_tokens", *OPTIONS),
            floor_roles=FLOOR_ROLES,
            assumes="counterfactual",
            without_knowledge="above 0: what the original says of two unseen names differs too, and retraining adds noise of its own",
            does_not_show="That the candidate is as good as retrained: it rests on exchangeable subjects, knows retraining noise only through continued models, and does not see what the stand-in leaks.",
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "CounterfactualFade":
        """With the estimator of the audit."""
        return cls(settings.get("estimator", "exact_step"))

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over prompts, which differ and can be asked about others, over the subjects that these are about."""
        labels = clusters_of_prompts(rows.groups, clusters_of(rows))
        found, prompts = self._fade(rows), np.unique(rows.groups[_column(rows, "prompt_index")])
        return mean_estimate(found.per_prompt, labels[prompts], num_clusters=int(labels.max()) + 1)

    def count(self, rows: Rows) -> int:
        """Prompts that differ."""
        return self._fade(rows).num_prompts

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Both directions, the value per token, samples, what was cut; which completions are forget answers, and how probable these are."""
        found = self._fade(rows)
        parts = {
            "stand_in_to_candidate": found.reference_to_candidate,
            "candidate_to_stand_in": found.candidate_to_reference,
            **{name: getattr(found, name) for name in ("fade_per_token", "num_samples", "truncated_fraction")},
        }
        side = _column(rows, "sampled_from")
        for whose, name in (("stand_in", STAND_IN), ("candidate", "subject")):
            parts[f"truncated_{whose}"] = _column(rows, "truncated")[side == name].mean()
            parts[f"{whose}_forget_answers"] = _column(rows, "is_forget_answer")[side == name].mean()
        return {name: float(value) for name, value in (parts | _probabilities(rows, uncertainty)).items()}

    def notes(self, rows: Rows) -> list[str]:
        """The assumption, and what was left out."""
        return notes_on(rows)

    def _fade(self, rows: Rows) -> FadeEstimate:
        require_questions(rows)

        def compute() -> FadeEstimate:
            table = ScoredRows(rows.table(COMPLETIONS.name).drop_columns(["item", "is_forget_answer"]))
            directed = [
                table.directed(sampled_from=own, scored_by=other, estimator=self.estimator, clusters=rows.groups)
                for own, other in ((STAND_IN, "subject"), ("subject", STAND_IN))
            ]
            return fade(*directed, num_resamples=1)

        return rows.memo(("counterfactual fade", self.estimator), compute)


def _column(rows: Rows, name: str) -> np.ndarray:
    return rows.table(COMPLETIONS.name).column(name).to_numpy()


def _probabilities(rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
    """Mean token probability of the forget answers under candidate and stand-in, and of holdout answers; what was not read is left out.

    And the `leak`: the share of what the original knows of the forget answers, beyond what it gives answers that nobody was trained on, that it
    tells of unseen names as well; 0 = none, 1 = all of it.
    """
    found: dict[str, float] = {}
    original = rows.of("original")
    try:
        stand_in = said_answers(original)
        found["stand_in_forget_probability"] = told = stand_in.probabilities.mean()
        own = np.exp(mean_log_probs(rows))[stand_in.examples]
        found["forget_probability"] = own.mean()
        clusters = clusters_of(rows)
        better = mean_estimate(
            own - stand_in.probabilities, clusters[stand_in.examples], num_clusters=int(clusters.max()) + 1
        )
        bounds = uncertainty.intervals([better])[0]
        if bounds is not None:
            found[KNOWN_BETTER] = bounds[0]
        known = np.exp(mean_log_probs(original))[stand_in.examples].mean()
        found["holdout_probability"] = np.exp(mean_log_probs(rows.on("holdout"))).mean()
        found["stand_in_holdout_probability"] = unknown = np.exp(mean_log_probs(original.on("holdout"))).mean()
        if known > unknown:
            found["leak"] = (told - unknown) / (known - unknown)
    except Undefined:
        pass
    return found
