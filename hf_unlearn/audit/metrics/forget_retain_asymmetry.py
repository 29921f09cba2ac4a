"""Whether more is left on the retain than on the forget examples."""

from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import estimate_at
from hf_unlearn.audit.metrics._two_sets import TwoSetMetric, both_spec
from hf_unlearn.functional import Bootstrap, Estimate, independent


class ForgetRetainAsymmetry(TwoSetMetric):
    """Residual ratio on retain minus on forget; 0 = even."""

    spec = both_spec(
        "forget_retain_asymmetry",
        "forget–retain asymmetry",
        "residual_ratio on retain minus on forget",
        None,
        (None, None),
        without_knowledge="about 0 for another retrained model, whose noise is the same on both sets",
        does_not_show="Whether either residue is small: two sets spoilt alike are even.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The difference, over the clusters of both sets."""
        retain, forget = independent(
            *(estimate_at(rows.on(split), "residual_ratio") for split in ("retain", "forget"))
        )
        return retain.minus(forget)
