"""Are forget texts told from unseen ones by tokens that are less likely than the model's own draws?"""

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
from hf_unlearn.functional import min_k_plus_plus_score


class MembershipMinKPlusPlus(LowestShareMetric):
    """AUC of Min-K%++ (Min-K% of standardised log-probabilities), forget against holdout, in [0, 1].

    With `compatible=True` as open-unlearning has it, see `MembershipMinK`.

    Args:
        k: Share of the tokens.
    """

    spec = membership_spec(
        "membership_min_k_plus_plus",
        "membership AUC by Min-K%++",
        "AUC of Min-K%++, forget against holdout",
        Citation("Min-K%++", "2404.02936"),
        standard=True,
        options=("compatible",),
    )

    def scores(self, rows: Rows) -> np.ndarray:
        """Mean of the share k of the standardised log-probabilities that are lowest."""
        answers = per_answer(rows, "log_probs", "vocab_mean", "vocab_std")
        if is_compatible(rows):
            answers = [without_last(columns) for columns in answers]
        return np.array(
            [min_k_plus_plus_score(own, mean, std, self.k) if len(own) else 0.0 for own, mean, std in answers]
        )
