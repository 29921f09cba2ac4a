"""Does a linear probe read more of the forget set in the subject than in the retrained model?"""

from collections.abc import Mapping, Sequence

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._metric import MIN_EXAMPLES, BaseMetric
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import FEATURES, HIDDEN_OPTIONS
from hf_unlearn.functional import Bootstrap, Estimate, ProbeResult, average, linear_probe


def _sentence(result: MetricResult) -> str | None:
    low, high = result.details.get("excess_low"), result.details.get("excess_high")
    if low is None or high is None or result.ideal is None:
        return "Whether a linear probe reads more of the forget set than in the retrained model was not measured."
    shown = f"AUC {result.value:.2f}, reference {result.ideal:.2f}, difference {low:.2f} to {high:.2f}, n = {result.n}"
    if low > 0:
        return f"A linear probe tells forget from holdout examples better than in the retrained model ({shown})."
    return f"It cannot be said that a linear probe reads more of the forget set than in the retrained model ({shown})."


class ProbeAUC(BaseMetric):
    """AUC of a cross-validated linear probe on a layer, forget against holdout, in [0, 1]; what counts is the excess over the reference's."""

    spec = MetricSpec(
        name="probe_auc",
        title="probe AUC",
        unit="AUC of a cross-validated linear probe, forget against holdout",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="hidden states",
        splits=("forget",),
        needs=(
            FEATURES,
            Reading("answers", frozenset({"features"}), split="holdout"),
        ),
        citation=Citation("Alain & Bengio 2016", "1610.01644"),
        sentence=_sentence,
        by_layer=True,
        headline=True,
        options=HIDDEN_OPTIONS,
        without_knowledge="the reference's own value, not 0.5: forget and holdout texts may differ in kind, which a probe reads without any memory",
        does_not_show="Whether the model uses what the probe reads, and what a stronger probe would read.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """Of one subject at one layer."""
        return _probe(rows, uncertainty).estimate

    def count(self, rows: Rows) -> int:
        """Examples of both sets."""
        return rows.count + rows.on("holdout").count

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """By how much the probe reads more than in the reference, with its interval."""
        if not rows.of("reference").has("answers"):
            return {}
        return _excess([_probe(side, uncertainty).estimate for side in (rows, rows.of("reference"))], uncertainty)

    def details_over_layers(
        self, rows: Rows, by_layer: Mapping[int, Mapping[str, float]], uncertainty: Bootstrap
    ) -> dict[str, float]:
        """The same, averaged over layers before the interval is found."""
        if not rows.of("reference").has("answers"):
            return {}
        sides = (rows, rows.of("reference"))
        means = [average([_probe(side.at(layer), uncertainty).estimate for layer in by_layer]) for side in sides]
        return _excess(means, uncertainty)


def _excess(pair: Sequence[Estimate], uncertainty: Bootstrap) -> dict[str, float]:
    difference = pair[0].minus(pair[1])
    interval = uncertainty.interval(difference)
    details = {"excess_over_reference": difference.value}
    return details if interval is None else {**details, "excess_low": interval[0], "excess_high": interval[1]}


def _probe(rows: Rows, uncertainty: Bootstrap) -> ProbeResult:
    holdout = rows.on("holdout")
    distinct = [len(np.unique(side.clusters)) for side in (rows, holdout)]
    if min(distinct) < MIN_EXAMPLES:
        raise Undefined(f"{distinct[0]} forget and {distinct[1]} holdout clusters are too few for a probe")
    # Folds are drawn by place: by content, or another order of the rows would be another probe.
    orders = [np.argsort(side.groups, kind="stable") for side in (rows, holdout)]
    clusters = [side.clusters[order] for side, order in zip((rows, holdout), orders, strict=True)]
    return rows.memo(
        "probe",
        lambda: linear_probe(
            rows.features()[orders[0]],
            holdout.features()[orders[1]],
            clusters=np.concatenate([clusters[0], clusters[1] + clusters[0].max() + 1]),
            seed=uncertainty.seed,
        ),
    )
