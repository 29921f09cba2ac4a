"""Are forget texts told from unseen ones by how much likelier they are than after retraining?"""

import numpy as np

from hf_unlearn.audit._contracts import Citation
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import mean_log_probs
from hf_unlearn.audit.metrics._membership import MembershipMetric, membership_spec


class MembershipReference(MembershipMetric):
    """AUC of the mean token log-probability less that under the reference, forget against holdout, in [0, 1].

    The difference takes away what makes texts hard for any model, so that 0.5 is what a second retraining has.
    """

    spec = membership_spec(
        "membership_reference",
        "membership AUC by comparison with the reference",
        "AUC of the mean token log-probability over the reference's, forget against holdout",
        Citation("Watson et al. 2022", "2111.08440", "calibrated by the retrained model"),
        compares=True,
    )

    def scores(self, rows: Rows) -> np.ndarray:
        """By how much the answer is likelier, nats per token."""
        return mean_log_probs(rows) - mean_log_probs(rows.of("reference"))
