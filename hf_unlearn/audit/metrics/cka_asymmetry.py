"""Whether geometry differs more from the retrained model's on the retain than on the forget examples."""

from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import estimate_at
from hf_unlearn.audit.metrics._two_sets import TwoSetMetric, both_spec
from hf_unlearn.functional import Bootstrap, Estimate, independent


class CKAAsymmetry(TwoSetMetric):
    """1 − CKA on retain minus on forget; 0 = even."""

    spec = both_spec(
        "cka_asymmetry",
        "CKA asymmetry",
        "1 − CKA on retain minus on forget",
        None,
        (None, None),
        without_knowledge="about 0 for another retrained model, whose noise is the same on both sets",
        does_not_show="Whether either geometry is like the retrained model's: two sets spoilt alike are even.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The difference, over the clusters of both sets."""
        forget, retain = independent(*(estimate_at(rows.on(split), "cka") for split in ("forget", "retain")))
        return forget.minus(retain)
