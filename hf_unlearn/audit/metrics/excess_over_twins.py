"""How much further from retrained models the candidate is than they are from each other."""

from hf_unlearn.audit._contracts import MetricSpec, Undefined
from hf_unlearn.audit._metric import BaseMetric, require_examples
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import COMPARED_OPTIONS, FEATURES, OURS
from hf_unlearn.functional import Bootstrap, Estimate, PairedMoments, excess_over_twins


class ExcessOverTwins(BaseMetric):
    """(D(x) − D₀) / (D(original) − D₀), D the mean squared distance to retrained models, D₀ their own: 1 = like the original, 0 = like one of them."""

    spec = MetricSpec(
        name="excess_over_twins",
        title="excess over twins",
        unit="distance to retrained models beyond their own, 1 = like the original",
        ideal=0.0,
        bounds=(None, None),
        family="hidden states",
        splits=("forget",),
        needs=(FEATURES,),
        citation=OURS,
        by_layer=True,
        compares=True,
        better="lower",
        options=COMPARED_OPTIONS,
        without_knowledge="about 0, by chance above or below",
        does_not_show="Its own uncertainty: it has no interval, and from one twin the noise of retraining is known by a single pair.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """Of the candidate; twin and original are what it is measured by."""
        require_examples(rows)
        if rows.subject.role != "candidate":
            raise Undefined("twin and original are what it is measured by")
        twins = [role for role in rows.evidence.roles() if role.startswith("twin")]
        if not twins or not rows.of("original").has("answers"):
            raise Undefined("needs a twin and an original")
        roles = ["reference", *twins, "original"]
        matrices = {role: rows.of(role).features(rows.layer) for role in roles} | {"candidate": rows.features()}
        value = excess_over_twins(
            PairedMoments.from_rows(matrices),
            "candidate",
            ["reference", *twins],
            "original",
            space=rows.facts.get("space", "feature"),
        )
        if value is None:
            raise Undefined("the original is no further from retrained models than they are from each other")
        return Estimate(value, None)
