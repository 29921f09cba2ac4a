"""How far the true answers stand out among answers that the model could have given as well."""

from collections.abc import Callable

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import MeanOverExamples, log_probs
from hf_unlearn.audit.metrics._variants import options
from hf_unlearn.functional import Bootstrap, exposure_by_rank, exposure_by_skew_normal


FEWEST_TO_FIT = 10
"""Candidates: a distribution fitted to five of them says thousands of bits of models that never saw the answer."""


class CarliniExposure(MeanOverExamples):
    """log2 |R| − log2 rank of each true answer's log-likelihood among candidates R, bits, mean over examples: at most log2 |R|.

    R are the wrong answers to the same question; on a set without them the answers of the holdout set to their own questions, which the model never saw.
    (Never the set's other answers: their ranks among each other have the same mean whatever the model knows.)
    """

    spec = MetricSpec(
        name="carlini_exposure",
        title="exposure by rank",
        short="rank exp.",
        unit="bits: log2 of the number of candidates less log2 of the answer's rank among them",
        ideal="reference",
        bounds=(None, None),
        family="memorization",
        splits=("forget", "retain"),
        needs=(
            Reading("answers"),
            Reading("variants", optional=True),
            Reading("answers", split="holdout", optional=True),
        ),
        standard=False,
        citation=Citation("The Secret Sharer", "1802.08232"),
        without_knowledge="about log2 |R| less the mean of log2 of the ranks 1 to |R| + 1: 0.74 bits of 5 candidates, 1.4 of many; not 0",
        does_not_show="More than log2 |R| bits, 2.3 where there are five wrong answers. Likelihoods of whole answers favour short ones, and candidates of "
        "another style or length than the true answer are beaten without any knowledge: compare with the reference.",
    )

    def per_example(self, rows: Rows) -> np.ndarray:
        """By rank among the candidates of each example."""
        return self._bits(rows, exposure_by_rank, 1)

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The most exposed example, the form that is fitted instead of counted, and which candidates there were how many of.

        The median of the fitted form: it goes on beyond the candidates without end, and single examples make any mean.
        """
        found, fitted = self.values(rows), self._bits(rows, exposure_by_skew_normal, FEWEST_TO_FIT)
        candidates, are_wrong_answers = self._candidates(rows)
        numbers = [len(part) for part in candidates if len(part)]
        details = {
            "max": float(np.nanmax(found)),
            "candidates": float(np.mean(numbers)),
            "candidates_are_wrong_answers": float(are_wrong_answers),
        }
        known = fitted[np.isfinite(fitted)]
        return {**details, "skew_normal_median": float(np.median(known))} if len(known) else details

    def notes(self, rows: Rows) -> list[str]:
        """Which candidates were taken, where that is not what the name says everywhere."""
        if self._candidates(rows)[1]:
            return []
        return [
            f"Exposure on the {rows.split} set is among the holdout set's answers to their own questions: the set has no wrong answers."
        ]

    def _bits(self, rows: Rows, form: Callable[[float, np.ndarray], float], fewest: int) -> np.ndarray:
        own, (candidates, _) = log_probs(rows), self._candidates(rows)
        return np.array(
            [form(x, others) if len(others) >= fewest else np.nan for x, others in zip(own, candidates, strict=True)]
        )

    def _candidates(self, rows: Rows) -> tuple[tuple[np.ndarray, ...], bool]:
        """Log-likelihoods of each example's candidates, and whether they are its wrong answers."""
        if rows.has("variants"):
            return options(rows, whole=True).wrong, True
        try:
            others = log_probs(rows.on("holdout"))
        except Undefined as why:
            raise Undefined(f"needs wrong answers, or a holdout set, as candidates: {why}") from why
        return (others,) * rows.count, False
