"""TOFU's truth ratio of the forget set: is the true answer neither preferred nor avoided?"""

from hf_unlearn.audit._contracts import MetricSpec
from hf_unlearn.audit.metrics._variants import TOFU, VARIANTS, TruthRatioMetric


class TruthRatioCloserTo1Better(TruthRatioMetric):
    """min(R, 1/R) of the truth ratios R, mean over examples, in [0, 1]: 1 = wrong answers are as likely as the true one."""

    aggregation = "closer_to_1_better"
    spec = MetricSpec(
        name="truth_ratio_closer_to_1_better",
        title="truth ratio, closer to 1 better",
        short="tr near 1",
        unit="min(R, 1/R) of wrong answers' probability over the true one's",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="memorization",
        splits=("forget",),
        needs=VARIANTS,
        standard=False,
        citation=TOFU,
        options=("compatible",),
        without_knowledge="below 1, since wrong answers are seldom exactly as likely as the true one: 0.67 of the retrained model published with TOFU (forget10)",
        does_not_show="On which side of 1 a ratio lies: a true answer that is avoided counts as one that is known. 1 is not what retraining gives; "
        "compare with the reference.",
    )
