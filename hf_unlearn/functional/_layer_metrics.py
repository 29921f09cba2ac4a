"""All that is said about one layer of one model, from moments.

The measured model ("subject") is the candidate, or a twin (for the floor) or the original (for the start). Knows matrices of matched
rows; no models and no layers.
"""

from dataclasses import dataclass, field

from hf_unlearn.functional._cka import linear_cka
from hf_unlearn.functional._moments import PairedMoments
from hf_unlearn.functional._representation import (
    anchored_erasure,
    pca_distance,
    pca_shift,
    pca_similarity,
    relative_rounding,
    representation_forgetting,
)


REPRESENTATION_METRICS: dict[str, str] = {
    "progress": "reference",
    "directional_agreement": "higher",
    "off_direction": "lower",
    "residual_ratio": "lower",
    "residual_concentration": "lower",
    "cka": "higher",
    "anchored_erasure": "higher",
    "pca_similarity": "higher",
    "pca_shift": "lower",
    "mean_pca_distance": "lower",
}
"""Per-layer metrics and which way is better; "reference" = as near as possible to the reference's own value, which is 1."""

RESAMPLED = (
    "progress",
    "directional_agreement",
    "off_direction",
    "residual_ratio",
    "residual_concentration",
    "cka",
    "cka_to_original",
    "anchored_erasure",
)
"""Metrics that `leave_one_out` gives; those of principal directions have no interval."""


@dataclass(frozen=True)
class LayerMetrics:
    """Numbers of one layer.

    Attributes:
        values: By the names of `REPRESENTATION_METRICS`, and `cka_to_original`, `diffuse_concentration`, `subspace_dimension`.
            None = not defined here.
        reasons: Why a value is None, by name.
    """

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)


def layer_metrics(
    moments: PairedMoments,
    subject: str = "candidate",
    *,
    reference: str = "reference",
    original: str | None = "original",
    space: str = "feature",
    shared_basis: bool | None = None,
    debiased: bool = True,
) -> LayerMetrics:
    """All metrics of one layer on one set of examples.

    Args:
        moments: Of subject, reference and original, rows matched.
        subject: Name of the measured model; may be the original itself.
        reference: Name of the retrained model.
        original: Name of the model before unlearning; None leaves out what needs it.
        space: "feature" or "gram", see `representation_forgetting`.
        shared_basis: Whether coordinates mean the same to all three models, so that `residual_concentration`, which exists in feature
            space only, has a meaning; default: where the space is "feature".
        debiased: Which estimator of CKA.

    Returns:
        Everything that is defined, and why the rest is not.

    Raises:
        ValueError: Fewer rows than the estimator of CKA needs, an unknown space, or unequal widths in feature space.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(2, 9, 3))
        >>> moments = PairedMoments.from_rows({"candidate": rows[1], "reference": rows[1], "original": rows[0]})
        >>> values = layer_metrics(moments).values
        >>> values["residual_ratio"], values["progress"], values["anchored_erasure"]
        (0.0, 1.0, 1.0)
    """
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    if original is not None:
        moved = representation_forgetting(
            moments, candidate=subject, reference=reference, original=original, space=space
        )
        names = ("progress", "directional_agreement", "off_direction", "residual_ratio", "residual_concentration")
        values = {name: getattr(moved, name) for name in (*names, "diffuse_concentration", "subspace_dimension")}
        reasons = dict(moved.reasons)
        if space == "gram" and shared_basis:
            inside = representation_forgetting(moments, candidate=subject, reference=reference, original=original)
            for name in ("residual_concentration", "diffuse_concentration", "subspace_dimension"):
                values[name] = getattr(inside, name)
            reasons |= inside.reasons
    constant = "a representation is constant, or so few rows vary that the debiased estimate has no scale"
    values["cka"] = linear_cka(moments, subject, reference, debiased=debiased)
    if original is not None:
        values["cka_to_original"] = linear_cka(moments, subject, original, debiased=debiased)
        start = linear_cka(moments, original, reference, debiased=debiased)
        values["anchored_erasure"] = None
        if values["cka"] is None or start is None:
            reasons["anchored_erasure"] = constant
        else:
            rounding = max(relative_rounding(moments, name) for name in (original, reference))
            values["anchored_erasure"] = anchored_erasure(values["cka"], start) if 1 - start > rounding else None
            if values["anchored_erasure"] is None:
                reasons["anchored_erasure"] = "the original's geometry is the reference's already"
    pca = {"pca_similarity": pca_similarity, "pca_shift": pca_shift, "mean_pca_distance": pca_distance}
    for name, function in pca.items():
        values[name] = None
        if moments.shifts[subject].size != moments.shifts[reference].size:
            reasons[name] = "needs equal widths"
        else:
            values[name] = function(moments, subject, reference)
            if values[name] is None:
                reasons[name] = "there is no unique principal direction"
    for name in ("cka", "cka_to_original"):
        if name in values and values[name] is None:
            reasons[name] = constant
    return LayerMetrics(values, {name: reasons[name] for name in values if values[name] is None and name in reasons})
