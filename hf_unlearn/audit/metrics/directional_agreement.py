"""Whether unlearning changed the hidden states in the direction of retraining."""

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import LayerMetric, layer_spec
from hf_unlearn.functional import Bootstrap, Estimate


class DirectionalAgreement(LayerMetric):
    """Cosine of Δu and Δr, in [−1, 1]; the original, which changed nothing, has none."""

    spec = layer_spec(
        "directional_agreement",
        "directional agreement",
        "cosine of what unlearning and what retraining changed",
        1.0,
        (-1.0, 1.0),
        without_knowledge="below 1: another retrained model changed in a partly different direction",
        does_not_show="How far the candidate went: the smallest step in the right direction scores 1.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """Of any subject but the original."""
        if rows.subject.role == "original":
            raise Undefined("the original has changed nothing")
        return super().__call__(rows, uncertainty)
