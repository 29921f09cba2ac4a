"""Are forget texts told from unseen ones by how little they still pull at the weights?"""

import numpy as np

from hf_unlearn.audit._contracts import Citation
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible
from hf_unlearn.audit.metrics._membership import MembershipMetric, membership_spec
from hf_unlearn.functional import gradient_norm_score


class MembershipGradientNorm(MembershipMetric):
    """AUC of minus the L2 norm of the gradient of the answer's mean loss, forget against holdout, in [0, 1].

    A small norm speaks for a member: training has brought the loss there to rest. With `compatible=True` the mean over weight tensors of their
    gradients' norms, as open-unlearning has it. Costs a forward and a backward pass per answer.
    """

    spec = membership_spec(
        "membership_gradient_norm",
        "membership AUC by gradient norm",
        "AUC of minus the norm of the loss's gradient, forget against holdout",
        Citation("Wang et al. 2024", "2402.17012"),
        reading="gradients",
        options=("compatible",),
    )

    def scores(self, rows: Rows) -> np.ndarray:
        """Minus the norm; NaN where it is none."""
        norms = rows.column("gradients", "mean_norm" if is_compatible(rows) else "norm")
        return np.array([norm if np.isnan(norm) else gradient_norm_score(norm) for norm in norms], np.float64)
