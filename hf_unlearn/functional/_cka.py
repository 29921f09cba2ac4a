"""Linear centred kernel alignment (Kornblith et al. 2019), biased and debiased, exactly, from moments."""

import numpy as np

from hf_unlearn.functional._moments import PairedMoments


def linear_cka(moments: PairedMoments, a: str, b: str, *, debiased: bool = True) -> float | None:
    """How alike the geometry of two representations is; rotation, shift and scale do not matter.

    CKA = HSIC(a, b) / √(HSIC(a, a) HSIC(b, b)) with linear kernels. The debiased form uses the unbiased estimator of HSIC
    (Song et al. 2012, eq. 5): the biased one is about width/(rows − 1 + width) for independent Gaussians, .80 for 512 rows of width 2,048.

    Args:
        moments: Of both.
        a: Name of one.
        b: Name of the other.
        debiased: Which estimator.

    Returns:
        1 = same geometry; biased in [0, 1], debiased at most 1 and around 0 for unrelated representations. None where a representation
        is constant, or (debiased) its estimated HSIC with itself is not positive.

    Raises:
        ValueError: Fewer than 4 rows (debiased) or 2 (biased).

    Example:
        >>> x = np.random.default_rng(0).normal(size=(20, 3))
        >>> moments = PairedMoments.from_rows({"a": x, "b": 2 * x[:, ::-1] + 5})
        >>> round(linear_cka(moments, "a", "b"), 12)
        1.0
    """
    needed = 4 if debiased else 2
    if moments.count < needed:
        raise ValueError(
            f"{'debiased' if debiased else 'biased'} CKA needs at least {needed} rows, got {moments.count}."
        )
    hsic = _unbiased_hsic if debiased else _biased_hsic
    centred = moments.centred()
    own, other = hsic(centred, a, a), hsic(centred, b, b)
    constant = any(np.trace(centred.product(name, name)) <= moments.rounding(name) for name in (a, b))
    if constant or own <= 0 or other <= 0:
        return None
    return float(hsic(centred, a, b) / np.sqrt(own * other))


def _biased_hsic(centred: PairedMoments, a: str, b: str) -> float:
    return float((centred.product(a, b) ** 2).sum())


def _unbiased_hsic(centred: PairedMoments, a: str, b: str) -> float:
    """tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1/((n−1)(n−2)) − 2/(n−2)·1ᵀK̃L̃1, over n(n−3), with K̃, L̃ without their diagonals.

    It does not change with the shift; after centring Σ x = 0, so 1ᵀK̃1 = −Σ‖x‖² and 1ᵀK̃L̃1 = Σ‖x‖²‖y‖².
    """
    n = centred.count
    squares = centred.square(a, b)
    trace = float((centred.product(a, b) ** 2).sum()) - squares
    ones = float(np.trace(centred.product(a, a)) * np.trace(centred.product(b, b)))
    return (trace + ones / ((n - 1) * (n - 2)) - 2 / (n - 2) * squares) / (n * (n - 3))
