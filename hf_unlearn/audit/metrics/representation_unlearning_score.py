"""Change where something had to go, and likeness to the retrained model where something had to stay."""

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import estimate_at
from hf_unlearn.audit.metrics._two_sets import TwoSetMetric, both_spec
from hf_unlearn.functional import Bootstrap, Estimate, function_of, independent
from hf_unlearn.functional import representation_unlearning_score as score


class RepresentationUnlearningScore(TwoSetMetric):
    """Harmonic mean of 1 − CKA(subject, original) on forget and CKA(subject, reference) on retain; 1 = all changed, nothing harmed."""

    spec = both_spec(
        "representation_unlearning_score",
        "representation unlearning score",
        "harmonic mean of change on forget and likeness to the retrained model on retain",
        1.0,
        (None, None),  # debiased CKA may be below 0, and the change then above 1
        better="higher",
        without_knowledge="what another retrained model scores, as a rule below 1: its states of the forget set still resemble the original's",
        does_not_show="Which way the states of the forget set went: noise counts as change like forgetting does.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """From the CKAs of both sets."""
        change = estimate_at(rows.on("forget"), "cka_to_original")
        likeness = estimate_at(rows.on("retain"), "cka")
        value = score(change.value, likeness.value)
        if value is None:
            raise Undefined("a CKA is not positive")
        return function_of(independent(change, likeness), lambda a, b: score(a, b) or 0.0)
