"""Hidden states of subject and original at one layer, beside the original's after counterfactual questions, which stand for the retrained ones."""

from dataclasses import replace

from hf_unlearn.audit._contracts import MetricSpec, Undefined
from hf_unlearn.audit._metric import MIN_EXAMPLES, BaseMetric
from hf_unlearn.audit._rows import FEATURE, Rows
from hf_unlearn.audit.metrics._counterfactual import (
    ANSWERS,
    FLOOR_ROLES,
    OPTIONS,
    OURS,
    clusters_of,
    is_floor,
    notes_on,
    require_questions,
)
from hf_unlearn.audit.metrics._hidden import FEATURES, HIDDEN_OPTIONS, layer_spec
from hf_unlearn.functional import RESOLUTION, Bootstrap, Estimate, LayerEstimates, MatchedRows, layer_estimates


def counterfactual_layer_spec(
    name: str,
    title: str,
    unit: str,
    ideal: float,
    bounds: tuple[float | None, float | None],
    *,
    short: str,
    headline: bool = False,
    without_knowledge: str,
    does_not_show: str,
) -> MetricSpec:
    """The spec of such a metric: as one against the reference, but for what it reads, its floor and what it assumes."""
    plain = layer_spec(
        name,
        title,
        unit,
        ideal,
        bounds,
        short=short,
        headline=headline,
        citation=OURS,
        without_knowledge=without_knowledge,
        does_not_show=does_not_show,
    )
    return replace(
        plain,
        splits=("forget",),
        needs=(FEATURES, replace(ANSWERS, parts=FEATURES.parts)),
        standard=False,
        requires=("original",),
        compares=False,
        options=(*HIDDEN_OPTIONS, *OPTIONS),
        floor_roles=FLOOR_ROLES,
        assumes="counterfactual",
    )


class CounterfactualLayerMetric(BaseMetric):
    """One of `functional.REPRESENTATION_METRICS` at one layer, with Δr = the mean over names of the original's states − its states at the question.

    Attributes:
        of: The name of that metric.
    """

    of: str

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """What `functional.layer_estimates` finds."""
        found = _estimates(rows)
        if self.of not in found.estimates:
            raise Undefined(found.reasons.get(self.of, "not defined here"))
        return found.estimates[self.of]

    def count(self, rows: Rows) -> int:
        """Examples that can be asked about others."""
        return len(rows.of("original").table(ANSWERS.name))

    def notes(self, rows: Rows) -> list[str]:
        """The assumption, and what was left out."""
        return notes_on(rows)


def _estimates(rows: Rows) -> LayerEstimates:
    """All metrics of one subject at one layer.

    Raises:
        Undefined: Too few examples, no states, or states in another basis than the original's.
    """
    require_questions(rows)
    role = rows.subject.role
    if role != "stand-in" and not rows.facts.get("shares_original", {}).get(role, False):
        raise Undefined(
            f"the {role} did not start from the original's weights, so that their hidden states have no common basis"
        )

    def compute() -> LayerEstimates:
        original, column = rows.of("original"), f"{FEATURE}{rows.layer}"
        examples = original.column(ANSWERS.name, "example")
        if len(examples) < MIN_EXAMPLES:
            raise Undefined(
                f"{len(examples)} examples with counterfactual questions are too few, {MIN_EXAMPLES} are needed"
            )
        states = {
            "stand-in": original.column(ANSWERS.name, column).astype(float),
            "original": original.features()[examples],
        }
        if role != "original":
            own = rows.column(ANSWERS.name, column).astype(float) if is_floor(rows) else rows.features()[examples]
            states["subject"] = own
        clusters = clusters_of(rows)
        return layer_estimates(
            MatchedRows(states, resolution=rows.facts.get("resolution", RESOLUTION)),
            "subject" if role != "original" else "original",
            reference="stand-in",
            original="original",
            clusters=clusters[examples],
            num_clusters=int(clusters.max()) + 1,
        )

    return rows.memo("counterfactual layer estimates", compute)
