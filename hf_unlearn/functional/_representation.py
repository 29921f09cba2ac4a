"""Retraining-consistent representation forgetting: did the hidden states go where retraining would have taken them?

Inspired by arXiv 2606.25001, whose formulas could not be read, and by 2505.16831 and 2605.24614: the definitions here are this
library's reading. Knows moments of matched representations of candidate u, reference r and original o; Δr = r − o is what retraining
changes, Δu = u − o what unlearning changed, e = u − r what is left. No models, no layers.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import eigh

from hf_unlearn.functional._moments import PairedMoments


ENERGY = 0.9
"""The principal subspace of the retraining shift is the smallest that holds this share of ‖Δr‖²."""


@dataclass(frozen=True)
class RepresentationForgetting:
    """Where the candidate lies relative to the way from original to reference. None means: not defined, see `reasons`.

    Attributes:
        progress: ⟨Δu, Δr⟩ / ‖Δr‖²; 1 = all the way that retraining goes, 0 = not at all, above 1 = too far.
        directional_agreement: Cosine of Δu and Δr, in [−1, 1]; 1 = in the direction of retraining.
        off_direction: ‖Δu − progress·Δr‖ / ‖Δr‖, at least 0; 0 = nothing but that direction.
        residual_ratio: ‖e‖ / ‖Δr‖, at least 0; 0 = retrained, 1 = original untouched; its square is
            (1 − progress)² + off_direction².
        residual_concentration: Share of ‖e‖² in the principal subspace of Δr; 1 = all residue lies along retraining's directions. Only in
            feature space.
        diffuse_concentration: What that share would be for a residue without direction: subspace_dimension / width.
        subspace_dimension: k, the smallest number of right singular vectors of Δr that hold 90 % of ‖Δr‖².
        space: "feature" or "gram".
        reasons: Why a value is None, by name.
    """

    progress: float | None
    directional_agreement: float | None
    off_direction: float | None
    residual_ratio: float | None
    residual_concentration: float | None
    diffuse_concentration: float | None
    subspace_dimension: int | None
    space: str
    reasons: dict[str, str] = field(default_factory=dict)


def representation_forgetting(
    moments: PairedMoments,
    *,
    candidate: str = "candidate",
    reference: str = "reference",
    original: str = "original",
    space: str = "feature",
    subspace_dimension: int | None = None,
) -> RepresentationForgetting:
    """Progress, agreement, what is off the way, and what is left.

    Args:
        moments: Of all three, rows matched.
        candidate: Name of the unlearned model's matrix.
        reference: Of the retrained model's.
        original: Of the model's before unlearning.
        space: "feature" where the three models share their starting weights, so that coordinates mean the same; else "gram": the same
            quantities on centred Gram matrices, which no orthogonal map of one model's features changes.
        subspace_dimension: k; default: by the 90 % rule.

    Returns:
        See `RepresentationForgetting`; degenerate denominators give None and a reason, never a number.

    Raises:
        ValueError: An unknown space, features of different width in feature space, or k out of range.

    Example:
        Half-way along the retraining shift:

        >>> o, r = np.zeros((5, 2)), np.arange(10.0).reshape(5, 2)
        >>> moments = PairedMoments.from_rows({"candidate": (o + r) / 2, "reference": r, "original": o})
        >>> result = representation_forgetting(moments)
        >>> result.progress, result.directional_agreement, result.off_direction, result.residual_ratio
        (0.5, 1.0, 0.0, 0.5)
    """
    if space == "feature":
        names = (candidate, reference, original)
        widths = {name: moments.shifts[name].size for name in names}
        if len(set(widths.values())) > 1:
            raise ValueError(f"feature space needs equal widths, got {widths}; use space='gram'.")
        inner = _feature_inner(moments, *names)
        return _from_inner(inner, "feature", _concentration(moments, names, subspace_dimension))
    if space == "gram":
        reason = {"residual_concentration": "defined in feature space only"}
        inner = _gram_inner(moments, candidate, reference, original)
        return _from_inner(inner, "gram", (None, None, None, reason))
    raise ValueError(f"space must be 'feature' or 'gram', got {space!r}.")


def anchored_erasure(cka_candidate_reference: float, cka_original_reference: float) -> float | None:
    """clip((CKA(u, r) − CKA(o, r)) / (1 − CKA(o, r)), 0, 1): 1 = like the retrained model, 0 = no closer than the original.

    Returns:
        None where the original's geometry is the reference's already.

    Example:
        >>> anchored_erasure(0.9, 0.5)
        0.8
    """
    distance = 1 - cka_original_reference
    if distance <= 1e-9:
        return None
    return float(np.clip((cka_candidate_reference - cka_original_reference) / distance, 0, 1))


def representation_unlearning_score(cka_forget_original: float, cka_retain_reference: float) -> float | None:
    """Harmonic mean of 1 − CKA_forget(u, o) and CKA_retain(u, r), in [0, 1]; higher is better.

    Returns:
        None where a debiased estimate lies outside [0, 1] so far that the mean has no meaning (a part is negative, or both are 0).

    Example:
        CKA .2 to the original on forget, .9 to the reference on retain: 2 · .8 · .9 / 1.7 = .847059.

        >>> round(representation_unlearning_score(0.2, 0.9), 6)
        0.847059
    """
    forgotten, kept = 1 - cka_forget_original, cka_retain_reference
    if min(forgotten, kept) < 0 or forgotten + kept == 0:
        return None
    return float(2 * forgotten * kept / (forgotten + kept))


def pca_similarity(moments: PairedMoments, a: str, b: str) -> float | None:
    """Absolute cosine of the first principal directions (arXiv 2505.16831), in [0, 1]; 1 = same direction.

    Returns:
        None where one of them has no first direction: constant features, or the largest variance is not unique.
    """
    directions = [_principal_directions(moments, name, 1) for name in (a, b)]
    if directions[0] is None or directions[1] is None:
        return None
    return float(min(1.0, abs(directions[0][0] @ directions[1][0])))


def pca_shift(moments: PairedMoments, candidate: str, reference: str) -> float | None:
    """Distance of the two means along the reference's first principal direction, at least 0; 0 = none. None as `pca_similarity`."""
    directions = _principal_directions(moments, reference, 1)
    if directions is None:
        return None
    return float(abs(directions[0] @ (moments.mean(candidate) - moments.mean(reference))))


def pca_distance(moments: PairedMoments, candidate: str, reference: str) -> float | None:
    """Distance of the two means in the plane of the reference's first two principal directions, at least 0; 0 = none.

    The mean over layers is the `mean_pca_distance` of arXiv 2505.16831. None where there is no such plane.
    """
    directions = _principal_directions(moments, reference, 2)
    if directions is None:
        return None
    return float(np.linalg.norm(directions @ (moments.mean(candidate) - moments.mean(reference))))


def excess_over_twins(
    moments: PairedMoments, candidate: str, references: list[str], original: str, *, space: str = "feature"
) -> float | None:
    """E = (D(u) − D₀) / (D(o) − D₀), D(x) = mean_j ‖x − r_j‖², D₀ the same between different retrained models.

    One retrained model is only a sample: another one is not at distance 0 from it.

    Args:
        moments: Of all models, rows matched.
        candidate: Name of the candidate.
        references: Names of at least two retrained models.
        original: Name of the original.
        space: "feature", or "gram": distances between centred Gram matrices, which need no common basis.

    Returns:
        1 = like the original, about 0 = like one more retrained model; None where the original is no further from the retrained
        models than they are from each other.

    Raises:
        ValueError: Fewer than two references.
    """
    if len(references) < 2:
        raise ValueError(f"the distance between retrained models needs at least two of them, got {len(references)}.")

    def distance(a: str, b: str) -> float:
        if space == "gram":
            return _gram_dot(moments, a, a) - 2 * _gram_dot(moments, a, b) + _gram_dot(moments, b, b)
        return float(np.trace(moments.difference_product(a, b, a, b)))

    between = np.mean([distance(a, b) for i, a in enumerate(references) for b in references[i + 1 :]])
    start = np.mean([distance(original, name) for name in references])
    if start <= between:
        return None
    return float((np.mean([distance(candidate, name) for name in references]) - between) / (start - between))


def principal_shift_subspace(shift: np.ndarray, dimension: int | None = None) -> np.ndarray:
    """The first right singular vectors of Δr.

    Args:
        shift: ΔrᵀΔr, shape `(width, width)`.
        dimension: How many; default: the fewest that hold 90 % of ‖Δr‖².

    Returns:
        Orthonormal columns, shape `(width, dimension)`.

    Raises:
        ValueError: More dimensions than there are, or none.

    Example:
        >>> principal_shift_subspace(np.diag([8.0, 1.5, 0.5])).shape
        (3, 2)
    """
    values, vectors = np.linalg.eigh((shift + shift.T) / 2)
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    width = len(values)
    if dimension is not None and not 1 <= dimension <= width:
        raise ValueError(f"subspace_dimension must be from 1 to {width}, got {dimension}.")
    if dimension is None:
        share = np.cumsum(values) / max(values.sum(), np.finfo(float).tiny)
        dimension = min(width, int(np.searchsorted(share, ENERGY - 1e-12)) + 1)
    return vectors[:, :dimension]


def _from_inner(
    inner: tuple[float, float, float, float],
    space: str,
    concentration: tuple[float | None, float | None, int | None, dict[str, str]],
) -> RepresentationForgetting:
    """From ⟨Δu, Δr⟩, ‖Δr‖², ‖Δu‖² and the scale below which a norm is rounding."""
    cross, retraining, unlearning, rounding = inner
    share, diffuse, dimension, reasons = concentration
    if retraining <= rounding:
        names = ("progress", "directional_agreement", "off_direction", "residual_ratio", "residual_concentration")
        reason = "retraining changes nothing here: reference and original agree"
        nothing = (None, None, None, None, None, None, None)
        return RepresentationForgetting(*nothing, space=space, reasons=dict.fromkeys(names, reason))
    progress = cross / retraining
    agreement = None
    if unlearning <= rounding:
        reasons = {**reasons, "directional_agreement": "unlearning changed nothing here: candidate and original agree"}
    else:
        agreement = float(np.clip(cross / np.sqrt(retraining * unlearning), -1, 1))
    off = max(0.0, unlearning - cross**2 / retraining)
    off = 0.0 if off <= 1e-12 * unlearning else off  # rounding of two equal numbers
    off_direction = float(np.sqrt(off / retraining))
    residual = float(np.hypot(1 - progress, off_direction))
    return RepresentationForgetting(
        float(progress) + 0.0, agreement, off_direction, residual, share, diffuse, dimension, space, dict(reasons)
    )


def _feature_inner(moments: PairedMoments, u: str, r: str, o: str) -> tuple[float, float, float, float]:
    def trace(a: str, b: str) -> float:
        return float(np.trace(moments.difference_product(a, o, b, o)))

    rounding = moments.resolution**2 * max(moments.energy(name) for name in (r, o))
    return trace(u, r), trace(r, r), trace(u, u), rounding


def _gram_inner(moments: PairedMoments, u: str, r: str, o: str) -> tuple[float, float, float, float]:
    """Inner products of centred Gram matrices: ⟨K_a, K_b⟩ = ‖H̃_aᵀ H̃_b‖²."""

    def dot(a: str, b: str) -> float:
        return _gram_dot(moments, a, b)

    cross = dot(u, r) - dot(u, o) - dot(o, r) + dot(o, o)
    retraining = dot(r, r) - 2 * dot(r, o) + dot(o, o)
    unlearning = dot(u, u) - 2 * dot(u, o) + dot(o, o)
    # A relative error δ of the centred rows moves K by up to 2δ‖K‖; centring makes δ larger where the mean is large.
    return (
        cross,
        retraining,
        unlearning,
        max(4 * relative_rounding(moments, name) * dot(name, name) for name in (r, o)),
    )


def relative_rounding(moments: PairedMoments, name: str) -> float:
    """Share of the centred rows' energy that may be rounding of the rows as they are; 1 − CKA of equal models is below it."""
    spread = float(np.trace(moments.covariance(name, name)))
    return moments.resolution**2 * moments.energy(name) / max(spread, np.finfo(float).tiny)


def _gram_dot(moments: PairedMoments, a: str, b: str) -> float:
    return float((moments.covariance(a, b) ** 2).sum())


def shift_subspace(moments: PairedMoments, reference: str, original: str, dimension: int | None = None) -> np.ndarray:
    """`principal_shift_subspace` of these two models, worked out once; shape `(width, dimension)`."""

    def make() -> np.ndarray:
        return principal_shift_subspace(
            moments.difference_product(reference, original, reference, original), dimension
        )

    return moments.once(("shift", reference, original, dimension), make)


def _concentration(
    moments: PairedMoments, names: tuple[str, str, str], dimension: int | None
) -> tuple[float | None, float | None, int | None, dict[str, str]]:
    u, r, o = names
    basis = shift_subspace(moments, r, o, dimension)
    width, dimension = basis.shape
    residual = moments.difference_product(u, r, u, r)
    total = float(np.trace(residual))
    if total <= moments.resolution**2 * max(moments.energy(name) for name in (u, r)):
        return (
            None,
            dimension / width,
            dimension,
            {"residual_concentration": "nothing is left: candidate and reference agree"},
        )
    inside = float((basis * (residual @ basis)).sum())
    return min(1.0, max(0.0, inside / total)), dimension / width, dimension, {}


def _principal_directions(moments: PairedMoments, name: str, count: int) -> np.ndarray | None:
    """The first right singular directions of centred features, shape `(count, width)`; None where they are not unique."""
    values, vectors = moments.once(("principal", name), lambda: _largest(moments.covariance(name, name)))
    if len(values) < count:
        return None
    following = values[count] if len(values) > count else 0.0
    if values[count - 1] - following <= max(moments.rounding(name), 1e-12 * float(values[0])):
        return None
    return vectors[:, :count].T


def _largest(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The three largest eigenvalues (as many as `pca_distance` looks at, and the one after) and their vectors, shape `(width, 3)`."""
    width = len(covariance)
    values, vectors = eigh((covariance + covariance.T) / 2, subset_by_index=[max(0, width - 3), width - 1])
    return values[::-1], vectors[:, ::-1]
