"""Metrics of hidden states that need the forget and the retain set together."""

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import COMPARED_OPTIONS, OURS


BOTH = (Reading("answers", frozenset({"features"})), Reading("answers", frozenset({"features"}), split="retain"))


def both_spec(
    name: str,
    title: str,
    unit: str,
    ideal: float | None,
    bounds: tuple[float | None, float | None],
    citation: Citation = OURS,
    better: str | None = None,
    *,
    without_knowledge: str,
    does_not_show: str,
) -> MetricSpec:
    """The spec of a metric of forget and retain together, by layer."""
    return MetricSpec(
        name=name,
        title=title,
        unit=unit,
        ideal=ideal,
        bounds=bounds,
        family="hidden states",
        splits=("forget",),
        needs=BOTH,
        citation=citation,
        by_layer=True,
        compares=True,
        better=better,
        without_knowledge=without_knowledge,
        does_not_show=does_not_show,
        options=COMPARED_OPTIONS,
    )


class TwoSetMetric(BaseMetric):
    """Counts the smaller set."""

    def count(self, rows: Rows) -> int:
        """Examples of the smaller set."""
        return min(rows.on(split).count for split in ("forget", "retain"))
