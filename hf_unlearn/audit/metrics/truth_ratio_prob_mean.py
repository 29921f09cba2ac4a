"""Open-unlearning's truth ratio: the share of probability that the true answer has, against a typical wrong one."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible
from hf_unlearn.audit.metrics._variants import VARIANTS, TruthRatioMetric, options
from hf_unlearn.functional import normalized_probability


class TruthRatioProbMean(TruthRatioMetric):
    """1 / (1 + R) of the truth ratios R, mean over examples, in [0, 1]: ½ = a typical wrong answer is as likely as the true one."""

    aggregation = "prob_mean"
    spec = MetricSpec(
        name="truth_ratio_prob_mean",
        title="truth ratio, share of the true answer",
        short="tr share",
        unit="probability of the true answer over its sum with a typical wrong one's",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="memorization",
        splits=("forget", "retain"),
        needs=VARIANTS,
        standard=False,
        citation=Citation("OpenUnlearning", "2506.12618"),
        options=("compatible",),
        without_knowledge="about 0.5: wrong answers are as likely as the true one",
        does_not_show="Whether the model says the true answer, or anything sensible: a model that gives all texts the same probability scores 0.5.",
    )

    def per_example(self, rows: Rows) -> np.ndarray:
        """P(true) / (P(true) + P(wrong)), the wrong answers' probabilities averaged as a geometric mean."""
        found, compatible = options(rows), is_compatible(rows)
        return np.array(
            [
                normalized_probability(true, [wrong.mean()], compatible=compatible) if len(wrong) else np.nan
                for true, wrong in zip(found.true, found.wrong, strict=True)
            ]
        )
