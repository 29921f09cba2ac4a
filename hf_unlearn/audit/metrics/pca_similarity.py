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
        without_knowledge="below 1: another retrained model's first direction differs a little, too",
        does_not_show="Anything beside one direction: a change that leaves it alone is not seen, and where two directions are about equally strong they trade places by chance.",
    )
