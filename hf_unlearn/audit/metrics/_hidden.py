"""Hidden states of subject, reference and original at one layer, as estimates: computed once for all metrics on them."""

from dataclasses import replace

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._metric import BaseMetric, require_examples
from hf_unlearn.audit._rows import Rows
from hf_unlearn.functional import RESOLUTION, Bootstrap, Estimate, LayerEstimates, MatchedRows, layer_estimates


FEATURES = Reading("answers", frozenset({"features"}))
HIDDEN_OPTIONS = ("layers", "pooling")
COMPARED_OPTIONS = (*HIDDEN_OPTIONS, "space")
OURS = Citation("Residues in hidden states", "2606.25001", "our reading; its formulas could not be read")
REVERSIBILITY = Citation("Unlearning is not deletion: principal directions", "2505.16831")


def layer_spec(
    name: str,
    title: str,
    unit: str,
    ideal: float,
    bounds: tuple[float | None, float | None],
    *,
    short: str = "",
    headline: bool = False,
    citation: Citation = OURS,
    without_knowledge: str,
    does_not_show: str,
) -> MetricSpec:
    """The spec of a metric on hidden states by layer."""
    return MetricSpec(
        name=name,
        title=title,
        short=short,
        unit=unit,
        ideal=ideal,
        bounds=bounds,
        family="hidden states",
        splits=("forget", "retain"),
        needs=(FEATURES,),
        headline=headline,
        citation=citation,
        by_layer=True,
        compares=True,
        without_knowledge=without_knowledge,
        does_not_show=does_not_show,
        options=COMPARED_OPTIONS,
    )


class LayerMetric(BaseMetric):
    """One of `functional.REPRESENTATION_METRICS`, at one layer."""

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """What `functional.layer_estimates` finds under the metric's name."""
        return estimate_at(rows, self.spec.name)


def estimates_at(rows: Rows) -> LayerEstimates:
    """All metrics of one subject at one layer."""
    require_examples(rows)

    def compute() -> LayerEstimates:
        related, original = rows.facts.get("shares_basis", {}), rows.of("original")
        return layer_estimates(
            _matched(rows),
            str(rows.subject),
            reference=str(rows.of("reference").subject),
            original=str(original.subject) if original.has("answers") else None,
            space=rows.facts.get("space", "feature"),
            shared_basis=bool(related.get(rows.subject.role, False) and related.get("original", False)),
            clusters=rows.clusters,
        )

    return rows.memo("layer estimates", compute)


def _matched(rows: Rows) -> MatchedRows:
    """Of the subject, and of what it is measured by; what several subjects share is worked out once."""

    def compute() -> MatchedRows:
        present = [
            subject
            for reading, subject, split in rows.evidence.tables
            if reading == "answers" and split == rows.split and rows.layer in replace(rows, subject=subject).layers()
        ]
        features = {str(subject): replace(rows, subject=subject).features() for subject in present}
        return MatchedRows(features, resolution=rows.facts.get("resolution", RESOLUTION))

    return rows.evidence.memo(("matched", rows.split, rows.layer), compute)


def estimate_at(rows: Rows, name: str) -> Estimate:
    """One of them.

    Raises:
        Undefined: It is not defined here; says why.
    """
    found = estimates_at(rows)
    if name not in found.estimates:
        raise Undefined(found.reasons.get(name, "needs an original"))
    return found.estimates[name]
