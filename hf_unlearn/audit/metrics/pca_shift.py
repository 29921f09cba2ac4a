"""How far the mean lies from the retrained model's, along its first principal direction."""

from hf_unlearn.audit.metrics._hidden import REVERSIBILITY, LayerMetric, layer_spec


class PCAShift(LayerMetric):
    """At least 0."""

    spec = layer_spec(
        "pca_shift",
        "PCA shift",
        "distance of means along the retrained model's first principal direction",
        0.0,
        (0.0, None),
        citation=REVERSIBILITY,
        without_knowledge="above 0: another retrained model's mean lies elsewhere, too",
        does_not_show="How single examples moved, and anything beside one direction. It is in the model's own units and cannot be compared between models or layers.",
    )
