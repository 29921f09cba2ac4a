"""Are forget texts told from unseen ones by their loss?"""

import numpy as np

from hf_unlearn.audit._contracts import Citation
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._membership import MembershipMetric, membership_spec, per_answer
from hf_unlearn.functional import loss_score


class MembershipLoss(MembershipMetric):
    """AUC of minus the loss (mean token log-probability of the answer), forget against holdout, in [0, 1]: 1 = forget texts always win."""

    spec = membership_spec(
        "membership_loss",
        "membership AUC by loss",
        "AUC of the mean token log-probability, forget against holdout",
        Citation("Yeom et al. 2018", "1709.01604"),
        standard=True,
    )

    def scores(self, rows: Rows) -> np.ndarray:
        """Mean token log-probability."""
        return np.array([loss_score(log_probs) for (log_probs,) in per_answer(rows, "log_probs")])
