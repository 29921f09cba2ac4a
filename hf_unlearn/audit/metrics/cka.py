"""Likeness of geometry with the retrained model."""

from hf_unlearn.audit.metrics._hidden import LayerMetric, layer_spec


class CKA(LayerMetric):
    """Debiased linear CKA; 1 = the same geometry. Geometry, not a verdict."""

    spec = layer_spec(
        "cka",
        "CKA with the retrained model",
        "linear CKA with the retrained model, debiased",
        1.0,
        (None, 1.0),
        short="CKA",
        without_knowledge="below 1: another retrained model's geometry differs a little, too",
        does_not_show="Knowledge: a model can keep its geometry and lose what it knew, or the other way round.",
    )
