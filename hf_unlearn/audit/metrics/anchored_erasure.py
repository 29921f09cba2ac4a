"""How far the geometry went from the original's to the retrained model's."""

from hf_unlearn.audit.metrics._hidden import LayerMetric, layer_spec


class AnchoredErasure(LayerMetric):
    """clip((CKA(u, r) − CKA(o, r)) / (1 − CKA(o, r)), 0, 1)."""

    spec = layer_spec(
        "anchored_erasure",
        "anchored erasure",
        "share of the way from original to retrained geometry",
        1.0,
        (0.0, 1.0),
        without_knowledge="below 1: another retrained model's geometry differs a little, too",
        does_not_show="Knowledge, which geometry is not; and, being clipped, how far a model went in the wrong direction.",
    )
