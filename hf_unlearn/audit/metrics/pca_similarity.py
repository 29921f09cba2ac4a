"""Likeness of the first principal direction to the retrained model's."""

from hf_unlearn.audit.metrics._hidden import REVERSIBILITY, LayerMetric, layer_spec


class PCASimilarity(LayerMetric):
    """Absolute cosine, in [0, 1]."""

    spec = layer_spec(
        "pca_similarity",
        "PCA similarity",
        "absolute cosine of first principal directions",
        1.0,
        (0.0, 1.0),
        citation=REVERSIBILITY,
    )
