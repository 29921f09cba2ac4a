"""Does the true answer stand out among wrong ones?"""

import numpy as np

from hf_unlearn.audit._contracts import MetricSpec, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._variants import TOFU, VARIANTS, TruthRatioMetric


class TruthRatio(TruthRatioMetric):
    """exp(mean of the wrong answers' mean token log-probabilities) / exp(that of the paraphrased true answer), mean over examples.

    Small = the true answer stands out, 1 = it is as likely as wrong ones. Where a set has no paraphrases, the true answer stands for its own.
    Examples without wrong answers have none. With `compatible` as open-unlearning computes the ratio, see `functional.truth_ratio`.
    """

    aggregation = "mean"
    spec = MetricSpec(
        name="truth_ratio",
        title="truth ratio",
        unit="probability of wrong answers over that of the paraphrased true one",
        ideal="reference",
        bounds=(0.0, None),
        family="memorization",
        splits=("forget", "retain"),
        needs=VARIANTS,
        citation=TOFU,
        options=("compatible",),
        without_knowledge="the reference's own value, often near 1: wrong answers are about as likely as the paraphrased true one",
        does_not_show="Whether the model says the answer: a model that finds all of them equally unlikely scores like one that never knew. It depends "
        "on how the wrong answers were written, and a few huge ratios can make the mean.",
    )

    def per_example(self, rows: Rows) -> np.ndarray:
        """Truth ratios.

        Raises:
            Undefined: One is infinite.
        """
        ratios = super().per_example(rows)
        if np.isinf(ratios).any():
            raise Undefined("a true answer has no probability at all")
        return ratios
