"""How far the hidden states went from those of a known subject towards those of subjects never seen."""

from hf_unlearn.audit.metrics._counterfactual_hidden import CounterfactualLayerMetric, counterfactual_layer_spec


class CounterfactualProgress(CounterfactualLayerMetric):
    """⟨Δu, Δr⟩ / ‖Δr‖² with Δr towards the original's mean states after counterfactual questions: 1 = all the way, 0 = not at all."""

    of = "progress"
    spec = counterfactual_layer_spec(
        "counterfactual_progress",
        "counterfactual progress",
        "share of the way from the original's states to those of unseen subjects",
        1.0,
        (None, None),
        short="cf. progress",
        without_knowledge="near 1, not exactly: states of a single unseen name lie elsewhere, too",
        does_not_show="What changed beside that direction, and whether the answer can still be read from the states.",
    )
