"""A metric that rests on exchangeable subjects and needs nobody but the original: what views must say of any such one."""

import numpy as np

from hf_unlearn.audit import BaseMetric, MetricSpec, Reading, Rows, mean_of
from hf_unlearn.audit.metrics._answers import mean_log_probs
from hf_unlearn.functional import Bootstrap, Estimate


class Strangeness(BaseMetric):
    """How far the answers' log-probabilities are from those of the first continued model, or else from a nat per token below the original's."""

    spec = MetricSpec(
        name="strangeness",
        title="distance to strangers",
        unit="nats per token",
        ideal=0.0,
        bounds=(0.0, None),
        family="outputs",
        splits=("forget",),
        needs=(Reading("answers"),),
        headline=True,
        requires=("original",),
        standard=False,
        floor_roles=("continued", "stand-in"),
        assumes="counterfactual",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """By example."""
        role = "continued" if "continued" in rows.evidence.roles() else "original"
        strangers = mean_log_probs(rows.of(role)) - (role == "original")
        return mean_of(np.abs(mean_log_probs(rows) - strangers) + 0.01, rows)


FORBIDDEN = ("another retraining", "as good as retraining", "the reference", "the twin")
"""What nobody may say of a counterfactual number alone."""
