"""What a model still has of given answers: memorization, truth ratio, exposure. Knows numbers per token or answer; no models."""

from collections.abc import Sequence

import numpy as np


def exact_memorization(correct: Sequence[bool] | np.ndarray, *, compatible: bool = False) -> float:
    """Share of answer tokens that are the model's first choice, given the true tokens before them; in [0, 1], 1 = by heart.

    Args:
        correct: Of each answer token, its end token included, shape `(tokens,)`.
        compatible: As open-unlearning, which leaves out the last token as an end token, whether it is one or not.

    Returns:
        NaN where no token is left.

    Example:
        >>> exact_memorization([True, False, True, True])
        0.75
        >>> round(exact_memorization([True, False, True, True], compatible=True), 4)
        0.6667
    """
    right = np.asarray(correct, dtype=bool)
    right = right[:-1] if compatible else right
    return float(right.mean()) if len(right) else float("nan")


def extraction_strength(correct: Sequence[bool] | np.ndarray, *, compatible: bool = False) -> float:
    """How much of the answer comes out by itself after its beginning: 1 − (tokens that must be given) / length.

    The tokens that must be given end with the last wrong one. A model that is never right scores 0.

    Args:
        correct: As for `exact_memorization`.
        compatible: As open-unlearning, which leaves out the last token, whether it is an end token or not, and never gives less than 1/length:
            a model whose last token is wrong scores as if it were right. (0 where no token is left.)

    Returns:
        In [0, 1]; NaN without tokens.

    Example:
        The last wrong token is the second of four: two come by themselves.

        >>> extraction_strength([True, False, True, True])
        0.5
        >>> extraction_strength([False, False]), extraction_strength([False, False, False], compatible=True)
        (0.0, 0.5)
    """
    right = np.asarray(correct, dtype=bool)
    right = right[:-1] if compatible else right
    if not len(right):
        return 0.0 if compatible else float("nan")
    wrong = np.flatnonzero(~right)
    given = wrong[-1] + 1 if len(wrong) else 0
    return float(1 - (min(given, len(right) - 1) if compatible else given) / len(right))


def truth_ratio(
    paraphrased_mean_log_prob: float,
    perturbed_mean_log_probs: Sequence[float] | np.ndarray,
    *,
    compatible: bool = False,
) -> float:
    """exp(mean of the wrong answers' mean token log-probabilities) / exp(that of the paraphrased true answer) (TOFU, arXiv 2401.06121).

    The wrong answers' probabilities are averaged as a geometric mean, as both TOFU's code and open-unlearning's do; the formula that the paper
    prints has the arithmetic one.

    Args:
        paraphrased_mean_log_prob: Of the true answer in other words, nats per token; of the true answer itself where there is no other.
        perturbed_mean_log_probs: Of each wrong answer.
        compatible: As open-unlearning, which adds 1e-10 to the true answer's probability: a model destroyed to the point of giving every
            answer less than that seems to tell true answers from wrong ones.

    Returns:
        At least 0; small = the true answer stands out, 1 = it is as likely as wrong ones. Infinite where a destroyed model denies the true answer
        without end; NaN where neither has any probability.

    Raises:
        ValueError: No wrong answer.

    Example:
        >>> round(truth_ratio(np.log(0.5), [np.log(0.25), np.log(0.25)]), 12)
        0.5
    """
    wrong = np.asarray(perturbed_mean_log_probs, np.float64)
    if not wrong.size:
        raise ValueError("a truth ratio needs at least one wrong answer.")
    with np.errstate(over="ignore", invalid="ignore"):
        if compatible:
            return float(np.exp(wrong.mean()) / (np.exp(paraphrased_mean_log_prob) + 1e-10))
        return float(np.exp(wrong.mean() - paraphrased_mean_log_prob))


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
