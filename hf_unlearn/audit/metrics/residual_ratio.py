"""What is left between the subject's hidden states and the retrained model's."""

from hf_unlearn.audit.metrics._hidden import LayerMetric, layer_spec


class ResidualRatio(LayerMetric):
    """‖u − r‖ / ‖Δr‖: 0 = retrained, 1 = original untouched."""

    spec = layer_spec(
        "residual_ratio",
        "residual ratio",
        "distance to the retrained states, in units of retraining's change",
        0.0,
        (0.0, None),
        short="residual",
        headline=True,
        without_knowledge="above 0: another retrained model keeps a distance from the reference, too",
        does_not_show="Whether what is left holds anything of the forget data, or is noise of training.",
    )
