"""What unlearning changed beside the direction of retraining."""

from hf_unlearn.audit.metrics._hidden import LayerMetric, layer_spec


class OffDirection(LayerMetric):
    """‖Δu − progress·Δr‖ / ‖Δr‖, at least 0."""

    spec = layer_spec(
        "off_direction",
        "off direction",
        "part of the change beside retraining's direction, in units of retraining's change",
        0.0,
        (0.0, None),
        without_knowledge="above 0: what another retrained model changed in its own way lies beside the direction, too",
        does_not_show="Whether that part is damage, noise of training or another way of forgetting.",
    )
