"""How far along the way from original to retrained the hidden states went."""

from hf_unlearn.audit.metrics._hidden import LayerMetric, layer_spec


class Progress(LayerMetric):
    """⟨Δu, Δr⟩ / ‖Δr‖²: 1 = all the way, 0 = not at all, above 1 = too far."""

    spec = layer_spec(
        "progress",
        "progress",
        "share of the way from original to retrained",
        1.0,
        (None, None),
        without_knowledge="near 1, not exactly: another retrained model lies elsewhere, too",
        does_not_show="What changed beside that direction, and whether the answer can still be read from the states.",
    )
