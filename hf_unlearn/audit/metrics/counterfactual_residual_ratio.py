"""What is left between the subject's hidden states and those that the original has of subjects that it has never seen."""

from hf_unlearn.audit.metrics._counterfactual_hidden import CounterfactualLayerMetric, counterfactual_layer_spec


class CounterfactualResidualRatio(CounterfactualLayerMetric):
    """‖u − r‖ / ‖Δr‖ with r the original's mean states after counterfactual questions: 0 = as of a subject never seen, 1 = original untouched."""

    of = "residual_ratio"
    spec = counterfactual_layer_spec(
        "counterfactual_residual_ratio",
        "counterfactual residual ratio",
        "distance to the states of unseen subjects, in units of their distance from the original's",
        0.0,
        (0.0, None),
        short="cf. residual",
        headline=True,
        without_knowledge="above 0: of a single unseen name the original's states keep a distance from their mean over names, too",
        does_not_show="Whether what is left holds anything of the forget data, is the name itself, or is noise of training.",
    )
