"""Does the true answer stand out among wrong ones?"""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import mean_log_probs
from hf_unlearn.functional import Bootstrap, Estimate, truth_ratio


class TruthRatio(BaseMetric):
    """exp(mean of the wrong answers' mean token log-probabilities) / exp(that of the paraphrased true answer), mean over examples.

    Small = the true answer stands out, 1 = it is as likely as wrong ones. Examples without wrong answers have none.
    """

    spec = MetricSpec(
        name="truth_ratio",
        title="truth ratio",
        unit="probability of wrong answers over that of the paraphrased true one",
        ideal="reference",
        bounds=(0.0, None),
        family="memorization",
        splits=("forget", "retain"),
        needs=(Reading("variants"),),
        citation=Citation("TOFU", "2401.06121"),
        without_knowledge="the reference's own value, often near 1: wrong answers are about as likely as the paraphrased true one",
        does_not_show="Whether the model says the answer: a model that finds all of them equally unlikely scores like one that never knew. It depends on how the wrong answers were written.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over examples that have a paraphrased and a wrong answer."""
        means = mean_log_probs(rows, "variants")
        example, is_wrong = rows.column("variants", "example"), rows.column("variants", "is_wrong")
        ratios = np.full(rows.count, np.nan)
        for number in np.unique(example):
            mine = example == number
            ratios[number] = truth_ratio(float(means[mine & ~is_wrong][0]), means[mine & is_wrong].tolist())
        if np.isinf(ratios).any():
            raise Undefined("a true answer has no probability at all")
        return mean_of(ratios, rows)

    def count(self, rows: Rows) -> int:
        """Examples that have a paraphrased and a wrong answer."""
        return len(np.unique(rows.column("variants", "example")))
