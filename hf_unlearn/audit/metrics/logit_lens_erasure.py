"""How much of what a logit lens reads of the answer in the original only is gone."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._shares import ShareMetric


class LogitLensErasure(ShareMetric):
    """Share of the answer's log-probability that the lens reads in the original and not after retraining, and that is gone, in [0, 1]."""

    spec = MetricSpec(
        name="logit_lens_erasure",
        title="logit lens erasure",
        unit="share of what a logit lens reads of the answer in the original only that is gone",
        ideal=1.0,
        bounds=(0.0, 1.0),
        family="hidden states",
        splits=("forget",),
        needs=(Reading("answers", frozenset({"lens"})),),
        citation=Citation("Logit lens", None, "our reading; no paper's formula"),
        compares=True,
        requires=("original",),
        without_knowledge="near 1, what another retrained model scores",
        does_not_show="What other readers than the model's own output layer find: a probe may read what the lens does not.",
    )

    def effects(self, rows: Rows) -> np.ndarray:
        """What the lens reads less than in the original at each layer, nats per token."""
        start, mine = (_lens(whose) for whose in (rows.of("original"), rows))
        return start - mine


def _lens(rows: Rows) -> np.ndarray:
    """Of the first examples, which are read; shape `(examples, layers)`."""
    table = rows.table("answers")
    if "lens" not in table.column_names:
        raise Undefined(f"no logit lens was read of the {rows.subject}")
    values = [row for row in table.column("lens").to_pylist() if row is not None]
    if not values:
        raise Undefined(f"the {rows.subject} has no logit lens")
    return np.array(values, np.float64)
