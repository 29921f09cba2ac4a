"""How far the mean lies from the retrained model's, in its first principal plane."""

from hf_unlearn.audit.metrics._hidden import REVERSIBILITY, LayerMetric, layer_spec


class MeanPCADistance(LayerMetric):
    """At least 0."""

    spec = layer_spec(
        "mean_pca_distance",
        "mean PCA distance",
        "distance of means in the retrained model's first principal plane",
        0.0,
        (0.0, None),
        citation=REVERSIBILITY,
        without_knowledge="above 0: another retrained model's mean lies elsewhere, too",
        does_not_show="How single examples moved, and anything outside one plane. It is in the model's own units and cannot be compared between models or layers.",
    )
