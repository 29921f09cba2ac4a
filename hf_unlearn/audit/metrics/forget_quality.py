"""TOFU's forget quality: can truth ratios tell the model from a retrained one?"""

import math

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Undefined
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._variants import VARIANTS, note_on_paraphrases, truth_ratios
from hf_unlearn.functional import Bootstrap, Estimate, ForgetQuality, forget_quality


def _sentence(result: MetricResult) -> str:
    statistic = result.details.get("ks_statistic")
    told = "not told apart" if result.value > 0.05 else "told apart"
    numbers = [f"p = {result.value:.3g}", *([] if statistic is None else [f"statistic {statistic:.3f}"])]
    numbers += [] if result.floor is None else [f"of another retraining p = {result.floor:.3g}"]
    return (
        f"By truth ratios on the {result.split} set candidate and reference are {told} (Kolmogorov-Smirnov: {', '.join(numbers)}, "
        f"n = {result.n})."
    )


class ForgetQualityMetric(BaseMetric):
    """p-value of the two-sample Kolmogorov-Smirnov test between the truth ratios of the model and of the reference, in [0, 1].

    A p-value has no interval and no ideal: of a retrained model it is uniform, and 0.9 is no better than 0.3. Small values say that the two are told
    apart, where other seeds of a retraining (the floor) are not.
    """

    spec = MetricSpec(
        name="forget_quality",
        title="forget quality",
        unit="p-value of the Kolmogorov-Smirnov test against the reference; small = told apart",
        ideal=None,
        bounds=(0.0, 1.0),
        family="memorization",
        splits=("forget",),
        needs=VARIANTS,
        standard=False,
        citation=Citation("TOFU", "2401.06121"),
        sentence=_sentence,
        requires=("reference",),
        compares=True,
        options=("compatible",),
        without_knowledge="anything in [0, 1], uniformly: that is what a p-value is where there is nothing to tell",
        does_not_show="That the model has forgotten: few examples tell no two models apart. Answers to the same questions, and of one person, are not "
        "independent, so that the p-value is no error rate: compare it with the floor.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The p-value, without an interval."""
        found = self._test(rows)
        return Estimate(found.p_value, None, num_clusters=min(found.n, found.n_reference))

    def notes(self, rows: Rows) -> list[str]:
        """What stands for true answers in other words."""
        return note_on_paraphrases(rows)

    def count(self, rows: Rows) -> int:
        """Truth ratios of the model."""
        return self._test(rows).n

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The statistic, the reference's number of truth ratios, and the p-value's logarithm, as leaderboards plot it."""
        found = self._test(rows)
        logarithm = {"log10_p_value": math.log10(found.p_value)} if found.p_value > 0 else {}
        return {"ks_statistic": found.statistic, "n_reference": float(found.n_reference), **logarithm}

    def _test(self, rows: Rows) -> ForgetQuality:
        own, reference = truth_ratios(rows), truth_ratios(rows.of("reference"))
        for ratios, subject in ((own, rows.subject), (reference, "reference")):
            if np.isnan(ratios).all():
                raise Undefined(f"the {subject} has no truth ratio: none of its answers has any probability")
        return forget_quality(own, reference)
