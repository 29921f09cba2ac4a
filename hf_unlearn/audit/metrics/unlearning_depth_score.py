"""How much of what retraining does to each layer's part in the answer unlearning did too."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._shares import ShareMetric


class UnlearningDepthScore(ShareMetric):
    """Share of what patching the reference's layers into the original takes from the answer that the subject's take too, in [0, 1]."""

    spec = MetricSpec(
        name="unlearning_depth_score",
        title="unlearning depth",
        unit="share of what patching retrained layers into the original removes of the answer",
        ideal=1.0,
        bounds=(0.0, 1.0),
        family="hidden states",
        splits=("forget",),
        needs=(Reading("patching"),),
        citation=Citation("Unlearning depth by activation patching", "2605.24614", "our reading"),
        compares=True,
        requires=("original",),
        without_knowledge="near 1, what another retrained model scores",
        does_not_show="What several layers hold together, since one is patched at a time, and what only other prompts bring out.",
    )

    def effects(self, rows: Rows) -> np.ndarray:
        """Drop of the answer's log-probability with each layer of the subject in the original, nats per token."""
        if rows.subject.role == "original":
            return np.zeros_like(self.effects(rows.of("reference")))
        if rows.facts.get("shares_basis", {}).get(rows.subject.role) is False and rows.subject.role.startswith("twin"):
            raise Undefined("the twin does not share the original's starting weights")
        return rows.column("patching", "effects")
