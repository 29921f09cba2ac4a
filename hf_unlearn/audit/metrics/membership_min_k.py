"""Are forget texts told from unseen ones by their least likely tokens?"""

import numpy as np

from hf_unlearn.audit._contracts import Citation
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible
from hf_unlearn.audit.metrics._membership import (
    LowestShareMetric,
    membership_spec,
    per_answer,
    without_last,
)
from hf_unlearn.functional import min_k_score


class MembershipMinK(LowestShareMetric):
    """AUC of Min-K% (mean log-probability of the least likely tokens), forget against holdout, in [0, 1].

    With `compatible=True` as open-unlearning has it: 40 % of the tokens, the last left out; an answer of one token scores 0, the most there is.

    Args:
        k: Share of the tokens.
    """

    spec = membership_spec(
        "membership_min_k",
        "membership AUC by Min-K%",
        "AUC of Min-K%, forget against holdout",
        Citation("Min-K%", "2310.16789"),
        options=("compatible",),
    )

    def scores(self, rows: Rows) -> np.ndarray:
        """Mean of the share k of the log-probabilities that are lowest."""
        return min_k_scores(rows, self.k)


def min_k_scores(rows: Rows, k: float) -> np.ndarray:
    """Min-K% of each answer, shape `(examples,)`."""
    answers = per_answer(rows, "log_probs")
    if is_compatible(rows):
        answers = [without_last(columns) for columns in answers]
    return np.array([min_k_score(log_probs, k) if len(log_probs) else 0.0 for (log_probs,) in answers])
