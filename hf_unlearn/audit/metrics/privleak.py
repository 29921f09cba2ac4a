"""MUSE's PrivLeak: how far a membership attack is from what it would reach on the retrained model."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._membership import MUSES_K, MembershipMetric
from hf_unlearn.audit.metrics.membership_min_k import min_k_scores
from hf_unlearn.functional import Bootstrap, Estimate, privleak_estimate


class PrivLeak(MembershipMetric):
    """100 · ((1 − AUC) − (1 − AUC_retrain)) / (1 − AUC_retrain) of Min-40%, forget against holdout, per cent, at least −100.

    −100 = forget texts are always told from unseen ones, 0 = as after retraining, above 0 = they look less like training data than after
    retraining. With `compatible=True` the last token of each answer is left out, as open-unlearning does and MUSE does not.
    """

    spec = MetricSpec(
        name="privleak",
        title="PrivLeak",
        unit="per cent by which Min-40% fails to tell forget from holdout texts more often than after retraining",
        ideal=0.0,
        bounds=(-100.0, None),
        family="membership",
        splits=("forget",),
        needs=(Reading("answers"), Reading("answers", split="holdout")),
        citation=Citation(
            "MUSE", "2407.06460", "the sign is that of its code and tables, where holdout texts are the members"
        ),
        standard=False,
        compares=True,
        requires=("reference",),
        options=("compatible",),
        without_knowledge="0 against the reference itself; another retraining is off by as much as its own AUC differs from the reference's",
        does_not_show="0 does not show that nothing can be extracted: it speaks of one attack, on the average over texts. It is unstable where the "
        "retrained model's AUC is near 1, that is where forget and holdout texts differ in kind.",
    )

    def scores(self, rows: Rows) -> np.ndarray:
        """Min-40%."""
        return min_k_scores(rows, MUSES_K)

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The change of the failure rate, paired over texts."""
        try:
            return privleak_estimate(self.area(rows), self.area(rows.of("reference")), uncertainty)
        except Undefined:
            raise
        except ValueError as why:
            raise Undefined(str(why).rstrip(".")) from why

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Both areas, with the forget texts as members."""
        return {"auc": self.area(rows).value, "reference_auc": self.area(rows.of("reference")).value}

    def notes(self, rows: Rows) -> list[str]:
        """None of its own."""
        return []
