"""Metrics of a layer with what each example contributes to their uncertainty. Knows matrices of matched rows; no models and no layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hf_unlearn.functional._estimates import Clusters, influence_estimate
from hf_unlearn.functional._layer_metrics import layer_metrics
from hf_unlearn.functional._leave_one_out import FEWEST_EXAMPLES, MatchedRows, leave_one_out
from hf_unlearn.functional._uncertainty import Estimate


LAYER_SCALES: Mapping[str, str] = {
    "progress": "plain",
    "directional_agreement": "fisher",
    "off_direction": "log",
    "residual_ratio": "log",
    "residual_concentration": "logit",
    # The debiased estimator is an inner product of doubly centred matrices over their norms, so that it lies in [−1, 1].
    "cka": "fisher",
    "cka_to_original": "fisher",
    "anchored_erasure": "clipped",
    "pca_similarity": "logit",
    "pca_shift": "log",
    "mean_pca_distance": "log",
}
"""Where the interval of each metric of a layer is found, see `Estimate`."""


@dataclass(frozen=True)
class LayerEstimates:
    """Numbers of one layer of one model.

    Attributes:
        estimates: By the names of `LAYER_SCALES`, where defined. Those of principal directions have no influences.
        details: `diffuse_concentration` and `subspace_dimension`, where defined.
        reasons: Why a metric is not there, or has no influences, by name.
    """

    estimates: dict[str, Estimate]
    details: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def layer_estimates(
    rows: Mapping[str, np.ndarray] | MatchedRows,
    subject: str = "candidate",
    *,
    reference: str = "reference",
    original: str | None = "original",
    space: str = "feature",
    shared_basis: bool | None = None,
    clusters: Clusters = None,
    num_clusters: int | None = None,
) -> LayerEstimates:
    """All metrics of one layer on one set of examples, with influences over clusters.

    Resampling with repeats would pair an example with its own copy, which biases CKA upwards. So an example's influence comes from
    leaving it out: (n − 1)(mean of the values without one − value without it). Where examples are copies of each other, CKA's *value*
    counts them as rows of their own and so is too high; its interval counts their cluster once.

    Args:
        rows: Per model, matched, shape `(examples, width)`. `MatchedRows` where several subjects are measured: what they share is then
            worked out once.
        subject: Name of the measured model; may be the original itself.
        reference: Name of the retrained model.
        original: Name of the model before unlearning; None leaves out what needs it.
        space: "feature" or "gram", see `representation_forgetting`.
        shared_basis: As for `layer_metrics`.
        clusters: As for `mean_estimate`.
        num_clusters: As for `mean_estimate`.

    Returns:
        See `LayerEstimates`.

    Raises:
        ValueError: Fewer than 4 examples, an unknown space, or unequal widths in feature space.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(2, 9, 3))
        >>> found = layer_estimates({"candidate": rows.mean(0), "reference": rows[1], "original": rows[0]}).estimates
        >>> round(found["progress"].value, 12), round(found["residual_ratio"].value, 12)
        (0.5, 0.5)
    """
    matched = rows if isinstance(rows, MatchedRows) else MatchedRows(rows)
    found = layer_metrics(
        matched.moments, subject, reference=reference, original=original, space=space, shared_basis=shared_basis
    )
    values, reasons = dict(found.values), dict(found.reasons)
    details = {name: values.pop(name, None) for name in ("diffuse_concentration", "subspace_dimension")}
    if details["diffuse_concentration"] is not None and details["subspace_dimension"] is not None:
        details["diffuse_concentration"] = details["subspace_dimension"] / matched.widths[subject]
    few = len(matched) < FEWEST_EXAMPLES
    without: dict[str, np.ndarray] = {}
    if not few:
        without = leave_one_out(
            matched, subject, reference=reference, original=original, space=space, shared_basis=shared_basis
        )
    estimates = {}
    independent = len(matched) if clusters is None else len(np.unique(np.asarray(clusters)))
    for name, value in values.items():
        if value is None:
            continue
        estimates[name] = Estimate(value, None, LAYER_SCALES[name], independent)
        if name in without and np.isfinite(without[name]).all():
            influence = (len(matched) - 1) * (without[name].mean() - without[name])
            estimates[name] = influence_estimate(
                value, influence, clusters, scale=LAYER_SCALES[name], num_clusters=num_clusters
            )
        elif name in without:
            reasons[name] = "without some example it is not defined, so that it has no interval"
    return LayerEstimates(estimates, {name: value for name, value in details.items() if value is not None}, reasons)
