"""TOFU's truth ratio of what had to stay: does the true answer stand out?"""

from hf_unlearn.audit._contracts import MetricSpec
from hf_unlearn.audit.metrics._variants import TOFU, VARIANTS, TruthRatioMetric


class TruthRatioTrueBetter(TruthRatioMetric):
    """max(0, 1 − R) of the truth ratios R, mean over examples, in [0, 1]: 1 = only the true answer has any probability."""

    aggregation, scale = "true_better", "clipped"
    spec = MetricSpec(
        name="truth_ratio_true_better",
        title="truth ratio, true better",
        short="tr true",
        unit="max(0, 1 − R) of wrong answers' probability over the true one's",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("forget", "retain"),
        needs=VARIANTS,
        standard=False,
        better="higher",
        citation=TOFU,
        options=("compatible",),
        without_knowledge="above 0: by chance, and by their wording, some true answers are more likely than wrong ones: 0.24 of the retrained "
        "model published with TOFU, on forget10",
        does_not_show="Whether the model says the true answer. Examples on whose wrong side a model is count as 0, however far.",
    )
