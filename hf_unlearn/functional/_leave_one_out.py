"""How each number about a layer moves when one example is left out. Closed forms, without a loop over examples.

Knows matrices of matched rows; no models and no layers.
"""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from hf_unlearn.functional._moments import RESOLUTION, PairedMoments, in_their_span
from hf_unlearn.functional._representation import shift_subspace


FEWEST_EXAMPLES = 5
"""A debiased estimate needs four rows, and one is left out."""


class MatchedRows:
    """Rows of several models on the same examples, and what has been worked out about them once for all subjects."""

    def __init__(self, rows: Mapping[str, np.ndarray], *, resolution: float = RESOLUTION) -> None:
        """Keep the rows.

        Args:
            rows: Per model, matched, shape `(examples, width)`.
            resolution: Relative error of their numbers, see `PairedMoments`.
        """
        self.widths = {name: np.shape(matrix)[1] for name, matrix in rows.items()}
        self.rows = in_their_span(rows)
        self.resolution = resolution
        self._centred: dict[str, np.ndarray] = {}
        self._kernels: dict[str, np.ndarray] = {}
        self._overlaps: dict[tuple[str, str], np.ndarray] = {}

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))

    @cached_property
    def moments(self) -> PairedMoments:
        """Of all models."""
        return PairedMoments.from_rows(self.rows, resolution=self.resolution)

    def centred(self, name: str) -> np.ndarray:
        """Shape `(examples, width)`."""
        if name not in self._centred:
            self._centred[name] = self.rows[name] - self.rows[name].mean(0)
        return self._centred[name]

    def overlap(self, a: str, b: str) -> np.ndarray:
        """Σ_j K_ij L_ij of the centred Gram matrices K and L of two models, shape `(examples,)`."""
        key = (min(a, b), max(a, b))
        if key not in self._overlaps:
            x, y = self.centred(a), self.centred(b)
            if len(self) <= min(x.shape[1], y.shape[1]):
                self._overlaps[key] = np.einsum("ij,ij->i", self._kernel(a), self._kernel(b))
            else:
                self._overlaps[key] = np.einsum("id,id->i", x @ (x.T @ y), y)
        return self._overlaps[key]

    def _kernel(self, name: str) -> np.ndarray:
        if name not in self._kernels:
            self._kernels[name] = self.centred(name) @ self.centred(name).T
        return self._kernels[name]


def leave_one_out(
    rows: Mapping[str, np.ndarray] | MatchedRows,
    subject: str = "candidate",
    *,
    reference: str = "reference",
    original: str | None = "original",
    space: str = "feature",
    shared_basis: bool | None = None,
) -> dict[str, np.ndarray]:
    """What each metric would be without one of the examples; O(rows · width · the smaller of the two).

    The principal subspace of the retraining shift stays that of all examples. CKA is the debiased one. `anchored_erasure` is not clipped:
    its influence must not vanish where it ends.

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
    matched = rows if isinstance(rows, MatchedRows) else MatchedRows(rows)
    if len(matched) < FEWEST_EXAMPLES:
        raise ValueError(
            f"leaving one out of a debiased estimate needs at least {FEWEST_EXAMPLES} examples, got {len(matched)}."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        result = {"cka": _cka_without(matched, subject, reference)}
        if original is None:
            return result
        result["cka_to_original"] = _cka_without(matched, subject, original)
        start = _cka_without(matched, original, reference)
        result["anchored_erasure"] = (result["cka"] - start) / (1 - start)
        if space == "feature" or shared_basis:
            result |= _feature_without(matched, subject, reference, original)
        if space == "gram":
            result |= _gram_without(matched, subject, reference, original)
    return result


def _cka_without(matched: MatchedRows, a: str, b: str) -> np.ndarray:
    own, other = _unbiased_hsic_without(matched, a, a), _unbiased_hsic_without(matched, b, b)
    return _unbiased_hsic_without(matched, a, b) / np.sqrt(own * other)


def _unbiased_hsic_without(matched: MatchedRows, first: str, second: str) -> np.ndarray:
    """Unbiased HSIC without each row in turn; rows are centred, so that row sums of K̃ = xxᵀ off its diagonal are −‖x‖²."""
    x, y = matched.centred(first), matched.centred(second)
    n = len(x) - 1
    a, b = (x**2).sum(1), (y**2).sum(1)
    overlap = matched.overlap(first, second)
    own = overlap - a * b  # Σ_j K̃_ij L̃_ij
    trace = overlap.sum() - (a * b).sum() - 2 * own
    ones = (-a.sum() + 2 * a) * (-b.sum() + 2 * b)
    to_x, to_y = x @ (x.T @ -b) + a * b, y @ (y.T @ -a) + a * b  # Σ_{j≠i} K̃_ij l_j and Σ_{j≠i} L̃_ij k_j
    mixed = (a * b).sum() - a * b - to_x - to_y + own
    return (trace + ones / ((n - 1) * (n - 2)) - 2 / (n - 2) * mixed) / (n * (n - 3))


def _feature_without(matched: MatchedRows, subject: str, reference: str, original: str) -> dict[str, np.ndarray]:
    u, r, o = (matched.rows[name] for name in (subject, reference, original))
    cross, retraining = ((u - o) * (r - o)).sum(1), ((r - o) ** 2).sum(1)
    unlearning, residual = ((u - o) ** 2).sum(1), ((u - r) ** 2).sum(1)
    inside = (((u - r) @ shift_subspace(matched.moments, reference, original)) ** 2).sum(1)
    result = _arithmetic(*(part.sum() - part for part in (cross, retraining, unlearning)))
    return {**result, "residual_concentration": (inside.sum() - inside) / (residual.sum() - residual)}


def _gram_without(matched: MatchedRows, subject: str, reference: str, original: str) -> dict[str, np.ndarray]:
    """⟨K_a, K_b⟩ of centred Gram matrices without each example: the covariance loses n/(n − 1) of that example's outer product."""

    def dot(first: str, second: str) -> np.ndarray:
        x, y = matched.centred(first), matched.centred(second)
        share = len(x) / (len(x) - 1)
        overlap = matched.overlap(first, second)
        return overlap.sum() - 2 * share * overlap + share**2 * (x**2).sum(1) * (y**2).sum(1)

    u, r, o = subject, reference, original
    ur, uo, ro, oo = dot(u, r), dot(u, o), dot(r, o), dot(o, o)
    return _arithmetic(ur - uo - ro + oo, dot(r, r) - 2 * ro + oo, dot(u, u) - 2 * uo + oo)


def _arithmetic(cross: np.ndarray, retraining: np.ndarray, unlearning: np.ndarray) -> dict[str, np.ndarray]:
    progress = cross / retraining
    off = unlearning - cross**2 / retraining
    off = np.sqrt(np.where(off <= 1e-12 * unlearning, 0, off) / retraining)  # rounding of two equal numbers
    return {
        "progress": progress,
        "directional_agreement": cross / np.sqrt(retraining * unlearning),
        "off_direction": off,
        "residual_ratio": np.hypot(1 - progress, off),
    }
