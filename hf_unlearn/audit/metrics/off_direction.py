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
    )
