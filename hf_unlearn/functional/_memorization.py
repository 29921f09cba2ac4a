"""What a model still has of given answers: memorization, truth ratio, exposure. Knows numbers per token or answer; no models."""

from collections.abc import Sequence

import numpy as np


def exact_memorization(correct: Sequence[bool] | np.ndarray) -> float:
    """Share of answer tokens that are the model's first choice, given the true tokens before them; in [0, 1], 1 = by heart.

    Example:
        >>> exact_memorization([True, False, True, True])
        0.75
    """
    return float(np.mean(np.asarray(correct, dtype=bool)))


def extraction_strength(correct: Sequence[bool] | np.ndarray) -> float:
    """How much of the answer comes out by itself after its beginning: 1 − (tokens that must be given) / length.

    The tokens that must be given end with the last wrong one. A model that is never right scores 0 (common implementations give
    1/length).

    Example:
        The last wrong token is the second of four: two come by themselves.

        >>> extraction_strength([True, False, True, True])
        0.5
        >>> extraction_strength([False, False])
        0.0
    """
    wrong = np.flatnonzero(~np.asarray(correct, dtype=bool))
    return 1.0 if not len(wrong) else float(1 - (wrong[-1] + 1) / len(correct))


def truth_ratio(paraphrased_mean_log_prob: float, perturbed_mean_log_probs: Sequence[float]) -> float:
    """exp(mean of the wrong answers' mean token log-probabilities) / exp(that of the paraphrased true answer) (TOFU, arXiv 2401.06121).

    Returns:
        At least 0; small = the true answer stands out, 1 = it is as likely as wrong ones.

    Example:
        >>> round(truth_ratio(np.log(0.5), [np.log(0.25), np.log(0.25)]), 12)
        0.5
    """
    with np.errstate(over="ignore"):  # a destroyed model may deny the true answer without end: infinity says so
        return float(np.exp(np.mean(perturbed_mean_log_probs) - paraphrased_mean_log_prob))


def generalized_exposure(log_probs: np.ndarray, reference_log_probs: np.ndarray) -> np.ndarray:
    """log2 u(x) − log2 r(x) of each answer (arXiv 2411.04388; our reading), in bits.

    Args:
        log_probs: Of whole answers under the candidate, nats; shape `(examples,)`.
        reference_log_probs: The same under the reference.

    Returns:
        Shape `(examples,)`: 0 = as after retraining, above 0 = still exposed, below 0 = over-forgotten.

    Example:
        Four times as likely as after retraining: 2 bits.

        >>> generalized_exposure(np.log([0.4]), np.log([0.1])).round(12).tolist()
        [2.0]
    """
    return (np.asarray(log_probs, np.float64) - np.asarray(reference_log_probs, np.float64)) / np.log(2)
