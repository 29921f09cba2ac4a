"""Which of several choices a model finds most likely. Knows log-likelihoods; no model."""

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp


def choice_accuracy(log_likelihoods: Sequence[float] | np.ndarray, right: int, *, compatible: bool = False) -> float:
    """Whether the right choice is the most likely one, in [0, 1]: of several that are most likely it has its share.

    Args:
        log_likelihoods: Of each choice, per byte or not, shape `(choices,)`; −∞ = impossible.
        right: Number of the right one.
        compatible: As lm-evaluation-harness, where of several the first counts: a model that finds all choices alike always says A.

    Raises:
        ValueError: No choices, no such choice, or NaN.

    Example:
        Two of three are most likely, and one of them is right.

        >>> choice_accuracy([-1.0, -2.0, -1.0], 2), choice_accuracy([-1.0, -2.0, -1.0], 2, compatible=True)
        (0.5, 0.0)
    """
    values = _checked(log_likelihoods, right)
    if compatible:
        return float(np.argmax(values) == right)
    best = values == values.max()
    return float(best[right] / best.sum())


def choice_probability(log_likelihoods: Sequence[float] | np.ndarray, right: int) -> float:
    """Probability of the right choice over the sum of all, in [0, 1]; NaN where none is possible.

    Example:
        >>> round(choice_probability(np.log([0.1, 0.3]), 1), 12)
        0.75
    """
    values = _checked(log_likelihoods, right)
    return float("nan") if np.isneginf(values).all() else float(np.exp(values[right] - logsumexp(values)))


def _checked(log_likelihoods: Sequence[float] | np.ndarray, right: int) -> np.ndarray:
    values = np.asarray(log_likelihoods, np.float64).ravel()
    if not 0 <= right < len(values):
        raise ValueError(f"there is no choice {right} among {len(values)}.")
    if np.isnan(values).any():
        raise ValueError("log-likelihoods of choices must be numbers, got NaN.")
    return values
