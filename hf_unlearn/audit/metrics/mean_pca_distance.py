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
    )
