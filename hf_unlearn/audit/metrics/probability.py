"""How likely the true answers are."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import mean_log_probs
from hf_unlearn.functional import Bootstrap, Estimate


class Probability(BaseMetric):
    """exp(mean token log-probability) of the true answer, mean over examples, in [0, 1]."""

    spec = MetricSpec(
        name="probability",
        title="probability of the true answer",
        short="p",
        unit="exp(mean token log-probability) of the answer",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="outputs",
        splits=("forget", "retain", "holdout"),
        needs=(Reading("answers"),),
        headline=True,
        citation=Citation("TOFU", "2401.06121"),
        without_knowledge="the reference's own value, not 0: a fluent model finds any plausible answer likely to some degree",
        does_not_show="Whether the fact is gone: other wordings, other questions and a little training are not tried, and a model that was destroyed scores low too.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over examples."""
        return mean_of(np.exp(mean_log_probs(rows)), rows)
