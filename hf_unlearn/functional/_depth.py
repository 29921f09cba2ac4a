"""How deep unlearning went: shares of what retraining takes from each layer, bounded for each example before they are averaged.

An example that was over-destroyed does not pay for one that was left as it was. Knows numbers per example and layer; no models.
"""

import numpy as np


def logit_lens_erasure(
    candidate: np.ndarray, reference: np.ndarray, original: np.ndarray, *, threshold: float = 0.05
) -> float | None:
    """How much of what a logit lens reads of the answer in the original, and would not read after retraining, is gone.

    Per example, over the layers where the lens reads more in the original than in the reference (by more than the threshold):
    Σ clip(original − candidate, 0, original − reference) / Σ (original − reference); then the mean over examples. Our reading; no
    paper's formula.

    Args:
        candidate: Mean log-probability of the answer tokens through the lens, nats per token; shape `(layers,)`, or
            `(examples, layers)`.
        reference: The same of the reference.
        original: The same of the original.
        threshold: Below it a layer says nothing.

    Returns:
        In [0, 1]; 1 = no more to be read than in the reference; None where no layer of any example says anything.

    Raises:
        ValueError: Unequal shapes.

    Example:
        Layers lose 1 of 2 and 3 of 3 (more than 3 is not more forgotten); the first says nothing: 4/5.

        >>> float(logit_lens_erasure(np.array([-5, -2, -8]), np.array([-5, -3, -6]), np.array([-5, -1, -3])))
        0.8
    """
    read, gone = (np.asarray(original, np.float64) - np.asarray(other, np.float64) for other in (reference, candidate))
    return unlearning_depth_score(read, gone, threshold=threshold)


def unlearning_depth_score(
    reference_effects: np.ndarray, candidate_effects: np.ndarray, *, threshold: float = 0.05
) -> float | None:
    """How much of what retraining does to each layer's part in the answer unlearning did too (after arXiv 2605.24614).

    Per example, over the layers where patching the reference's output into the original matters (effect above the threshold):
    Σ Δ₁ · clip(Δ₂ / Δ₁, 0, 1) / Σ Δ₁; then the mean over the examples that have such a layer.

    Args:
        reference_effects: Δ₁, drop of the answer's log-probability with the reference's layer output, nats; shape `(layers,)`, or
            `(examples, layers)`.
        candidate_effects: Δ₂, the same with the candidate's.
        threshold: Below it a layer says nothing.

    Returns:
        In [0, 1]; 1 = like the reference; None where no layer of any example says anything.

    Raises:
        ValueError: Unequal shapes.

    Example:
        Kept are the first two: (1 · ½ + 2 · 1) / 3 = 5/6. One example untouched and one destroyed beyond need are half, not all:

        >>> round(unlearning_depth_score(np.array([1, 2, 0.04]), np.array([0.5, 2, 9])), 6)
        0.833333
        >>> unlearning_depth_score(np.array([[1.0], [1.0]]), np.array([[0.0], [2.0]]))
        0.5
    """
    shares = shares_of_effects(reference_effects, candidate_effects, threshold=threshold)
    defined = shares[np.isfinite(shares)]
    return float(defined.mean()) if defined.size else None


def shares_of_effects(
    reference_effects: np.ndarray, candidate_effects: np.ndarray, *, threshold: float = 0.05
) -> np.ndarray:
    """The score of `unlearning_depth_score` for each example by itself.

    Args:
        reference_effects: Δ₁, shape `(examples, layers)`.
        candidate_effects: Δ₂, of the same shape.
        threshold: Below it a layer says nothing.

    Returns:
        In [0, 1], shape `(examples,)`; NaN where no layer says anything, which the reference alone decides.

    Raises:
        ValueError: Unequal shapes.
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (reference_effects, candidate_effects))
    if first.shape != second.shape or first.ndim not in (1, 2):
        raise ValueError(f"expected one effect a layer for both, got shapes {first.shape} and {second.shape}.")
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    wanted = np.where(first > threshold, first, 0.0)
    total = wanted.sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, np.clip(second, 0, wanted).sum(1) / total, np.nan)
