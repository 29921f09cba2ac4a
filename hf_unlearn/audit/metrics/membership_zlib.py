"""Are forget texts told from unseen ones by their loss, given how well their text compresses?"""

import numpy as np

from hf_unlearn.audit._contracts import Citation
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible
from hf_unlearn.audit.metrics._membership import MembershipMetric, membership_spec, per_answer
from hf_unlearn.functional import zlib_score


class MembershipZlib(MembershipMetric):
    """AUC of the answer's log-probability per byte of its text under zlib, forget against holdout, in [0, 1].

    With `compatible=True` the field's form: *mean* token log-probability per byte, by which long answers look like members.
    """

    spec = membership_spec(
        "membership_zlib",
        "membership AUC by zlib",
        "AUC of the log-probability per zlib byte, forget against holdout",
        Citation(
            "Carlini et al. 2021",
            "2012.07805",
            "log-probability of the whole answer per byte; the paper's code divides the mean over tokens",
        ),
        options=("compatible",),
    )

    def scores(self, rows: Rows) -> np.ndarray:
        """Log-probability per byte of the compressed text."""
        answers, texts = per_answer(rows, "log_probs"), rows.texts
        per_token = is_compatible(rows)
        pairs = zip(answers, texts, strict=True)
        return np.array([zlib_score(log_probs, text, per_token=per_token) for (log_probs,), text in pairs])
