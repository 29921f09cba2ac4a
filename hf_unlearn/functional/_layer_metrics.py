"""All that is said about one layer of one model, from moments; and how each number moves when one example is left out.

The measured model ("subject") is the candidate, or a twin (for the floor) or the original (for the start). Knows matrices of matched
rows; no models and no layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hf_unlearn.functional._bootstrap import bootstrap_means
from hf_unlearn.functional._cka import linear_cka
from hf_unlearn.functional._moments import PairedMoments
from hf_unlearn.functional._representation import (
    anchored_erasure,
    pca_distance,
    pca_shift,
    pca_similarity,
    principal_shift_subspace,
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
            values["anchored_erasure"] = anchored_erasure(values["cka"], start)
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


def leave_one_out(
    rows: Mapping[str, np.ndarray],
    subject: str = "candidate",
    *,
    reference: str = "reference",
    original: str | None = "original",
    space: str = "feature",
    shared_basis: bool | None = None,
) -> dict[str, np.ndarray]:
    """What each metric would be without one of the examples; closed forms, O(rows · width²).

    The principal subspace of the retraining shift stays that of all examples. CKA is the debiased one.

    Args:
        rows: Per model, matched, shape `(examples, width)`.
        subject: Name of the measured model.
        reference: Of the retrained model.
        original: Of the model before unlearning; None leaves out what needs it.
        space: "feature" or "gram".
        shared_basis: As for `layer_metrics`.

    Returns:
        Per name of `RESAMPLED`, shape `(examples,)`; not finite where a metric is not defined without that example.

    Raises:
        ValueError: Fewer than 5 examples.
    """
    count = len(rows[subject])
    if count < 5:
        raise ValueError(f"leaving one out of a debiased estimate needs at least 5 examples, got {count}.")
    names = {subject, reference} if original is None else {subject, reference, original}
    centred = {name: np.asarray(rows[name], np.float64) for name in names}
    centred = {name: matrix - matrix.mean(0) for name, matrix in centred.items()}
    result = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        own = {name: _unbiased_hsic_without(matrix, matrix) for name, matrix in centred.items()}

        def cka(a: str, b: str) -> np.ndarray:
            return _unbiased_hsic_without(centred[a], centred[b]) / np.sqrt(own[a] * own[b])

        result["cka"] = cka(subject, reference)
        if original is None:
            return result
        result["cka_to_original"] = cka(subject, original)
        start = cka(original, reference)
        result["anchored_erasure"] = np.clip((result["cka"] - start) / (1 - start), 0, 1)
        if space == "feature" or shared_basis:
            u, r, o = (np.asarray(rows[name], np.float64) for name in (subject, reference, original))
            result |= _feature_without(u, r, o)
        if space == "gram":
            result |= _gram_without(*(centred[name] for name in (subject, reference, original)))
    return result


def one_step_resamples(
    values: np.ndarray,
    without: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Bootstrap over examples of statistics that may not see an example twice.

    Resampling with repeats pairs an example with its own copy, which biases CKA upwards. So the influence of each example is taken
    from leaving it out, and the influences are resampled: θ* = θ + mean of (n − 1)(θ₍·₎ − θ₍ᵢ₎) over the resampled examples. For a mean
    this is the ordinary bootstrap.

    Args:
        values: Statistics on all examples, shape `(statistics,)`.
        without: The same without each example, shape `(examples, statistics)`.
        clusters: As for `bootstrap_means`.
        num_resamples: How many.
        seed: Of the resampling.

    Returns:
        Shape `(num_resamples, statistics)`; NaN for a statistic that is not defined without some example.

    Example:
        >>> x = np.arange(5.0)
        >>> without = (x.sum() - x) / 4
        >>> resamples = one_step_resamples(x.mean(keepdims=True), without[:, None], num_resamples=7)
        >>> np.allclose(resamples, bootstrap_means(x[:, None], num_resamples=7))
        True
    """
    defined = np.isfinite(without).all(0)
    influence = np.full(without.shape, np.nan)
    influence[:, defined] = (len(without) - 1) * (without[:, defined].mean(0) - without[:, defined])
    return values + bootstrap_means(influence, clusters=clusters, num_resamples=num_resamples, seed=seed)


def _unbiased_hsic_without(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Unbiased HSIC without each row in turn; x and y are centred, so that row sums of K̃ = xxᵀ off its diagonal are −‖x‖²."""
    n = len(x) - 1
    a, b = (x**2).sum(1), (y**2).sum(1)
    product = x.T @ y
    own = np.einsum("id,de,ie->i", x, product, y, optimize=True) - a * b  # Σ_j K̃_ij L̃_ij
    trace = (product**2).sum() - (a * b).sum() - 2 * own
    ones = (-a.sum() + 2 * a) * (-b.sum() + 2 * b)
    to_x, to_y = x @ (x.T @ -b) + a * b, y @ (y.T @ -a) + a * b  # Σ_{j≠i} K̃_ij l_j and Σ_{j≠i} L̃_ij k_j
    mixed = (a * b).sum() - a * b - to_x - to_y + own
    return (trace + ones / ((n - 1) * (n - 2)) - 2 / (n - 2) * mixed) / (n * (n - 3))


def _feature_without(u: np.ndarray, r: np.ndarray, o: np.ndarray) -> dict[str, np.ndarray]:
    cross, retraining = ((u - o) * (r - o)).sum(1), ((r - o) ** 2).sum(1)
    unlearning, residual = ((u - o) ** 2).sum(1), ((u - r) ** 2).sum(1)
    basis = principal_shift_subspace((r - o).T @ (r - o))
    inside = (((u - r) @ basis) ** 2).sum(1)
    result = _arithmetic(*(part.sum() - part for part in (cross, retraining, unlearning)))
    return {**result, "residual_concentration": (inside.sum() - inside) / (residual.sum() - residual)}


def _gram_without(u: np.ndarray, r: np.ndarray, o: np.ndarray) -> dict[str, np.ndarray]:
    """⟨K_a, K_b⟩ of centred Gram matrices without each example: the covariance loses n/(n − 1) of that example's outer product."""

    def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        share = len(x) / (len(x) - 1)
        product = x.T @ y
        own = np.einsum("id,de,ie->i", x, product, y, optimize=True)
        return (product**2).sum() - 2 * share * own + share**2 * (x**2).sum(1) * (y**2).sum(1)

    ur, uo, ro, oo = dot(u, r), dot(u, o), dot(r, o), dot(o, o)
    return _arithmetic(ur - uo - ro + oo, dot(r, r) - 2 * ro + oo, dot(u, u) - 2 * uo + oo)


def _arithmetic(cross: np.ndarray, retraining: np.ndarray, unlearning: np.ndarray) -> dict[str, np.ndarray]:
    progress = cross / retraining
    off = np.sqrt(np.clip(unlearning - cross**2 / retraining, 0, None) / retraining)
    return {
        "progress": progress,
        "directional_agreement": cross / np.sqrt(retraining * unlearning),
        "off_direction": off,
        "residual_ratio": np.hypot(1 - progress, off),
    }
