"""Whether what is left lies along the directions that retraining changes."""

from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._hidden import LayerMetric, estimates_at, layer_spec
from hf_unlearn.functional import Bootstrap


class ResidualConcentration(LayerMetric):
    """Share of ‖u − r‖² in the principal subspace of Δr; a residue without direction has subspace dimension / width (`diffuse`)."""

    spec = layer_spec(
        "residual_concentration",
        "residual concentration",
        "share of the residue in the principal subspace of retraining's change",
        0.0,
        (0.0, 1.0),
        without_knowledge="what a residue without direction has, subspace dimension / width (`diffuse`), or more: not 0",
        does_not_show="How much is left: the smallest residue can be concentrated. Read it beside the residual ratio.",
    )

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """What a residue without direction would have."""
        found = estimates_at(rows).details.get("diffuse_concentration")
        return {} if found is None else {"diffuse": found}
