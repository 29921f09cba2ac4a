"""How much an answer looks like training data: scores of membership attacks from numbers per token. Knows no model and no data set.

All scores have one orientation: higher = more likely a member. Whether members score higher than non-members is asked in `_attacks`.
"""

import zlib
from collections.abc import Sequence

import numpy as np


Numbers = Sequence[float] | np.ndarray
SMALLEST_STD = 1e-3
"""A token's vocabulary that is surer than this counts as this sure (a variance of 1e-6, as the field's code does)."""


def loss_score(log_probs: Numbers) -> float:
    """Mean token log-probability, that is minus the loss, nats per token (Yeom et al. 2018, arXiv 1709.01604).

    Args:
        log_probs: Of the answer's tokens, nats, shape `(tokens,)`.

    Raises:
        ValueError: No tokens, or one whose log-probability is not a number.

    Example:
        >>> loss_score([-1.0, -3.0])
        -2.0
    """
    return float(_tokens(log_probs).mean())


def zlib_score(log_probs: Numbers, text: str, *, per_token: bool = False) -> float:
    """Log-probability of the answer per byte of the text compressed by zlib, nats per byte (Carlini et al. 2021, arXiv 2012.07805).

    Both are lengths of a code for the same text, so that long and short texts compare. The field (the paper's code, MUSE, open-unlearning)
    divides the *mean* over tokens instead, which calls a text a member for being long: `per_token=True`.

    Args:
        log_probs: Of the answer's tokens, nats, shape `(tokens,)`.
        text: The answer; UTF-8.
        per_token: Divide the mean token log-probability, not the sum.

    Raises:
        ValueError: As `loss_score`.

    Example:
        Nothing at all compresses to 8 bytes (header and checksum).

        >>> zlib_score([-1.0, -3.0], ""), zlib_score([-1.0, -3.0], "", per_token=True)
        (-0.5, -0.25)
    """
    tokens = _tokens(log_probs)
    size = len(zlib.compress(text.encode("utf-8", "surrogatepass")))
    return float(tokens.mean() if per_token else tokens.sum()) / size


def min_k_score(log_probs: Numbers, k: float = 0.2) -> float:
    """Mean log-probability of the share k of the tokens that are least likely, nats per token (Min-K%, arXiv 2310.16789).

    Args:
        log_probs: Of the answer's tokens, nats, shape `(tokens,)`.
        k: In (0, 1]; ⌊k · tokens⌋ of them, at least one.

    Raises:
        ValueError: As `loss_score`, or a share that is none.

    Example:
        Two of five.

        >>> min_k_score([-1.0, -5.0, -2.0, -0.5, -3.0], k=0.4)
        -4.0
    """
    if not 0 < k <= 1:
        raise ValueError(f"k is a share of the tokens, above 0 and at most 1, got {k}.")
    tokens = _tokens(log_probs)
    least = max(1, int(k * len(tokens) + 1e-9))
    return float(np.partition(tokens, least - 1)[:least].mean())


def min_k_plus_plus_score(log_probs: Numbers, vocab_mean: Numbers, vocab_std: Numbers, k: float = 0.2) -> float:
    """Min-K% of log-probabilities standardised by what the model expects of its own draws there (Min-K%++, arXiv 2404.02936).

    Args:
        log_probs: Of the answer's tokens, nats, shape `(tokens,)`.
        vocab_mean: E_z[log p(z)] for z drawn from the model at that position, nats.
        vocab_std: Standard deviation of log p(z), nats; below `SMALLEST_STD` it counts as that.
        k: As for `min_k_score`.

    Returns:
        In standard deviations.

    Raises:
        ValueError: As `min_k_score`, or lengths that differ.

    Example:
        Standardised they are −1 and 2.

        >>> min_k_plus_plus_score([-2.0, -1.0], [-1.0, -2.0], [1.0, 0.5], k=0.5)
        -1.0
    """
    tokens, mean, std = (_tokens(values) for values in (log_probs, vocab_mean, vocab_std))
    if not len(tokens) == len(mean) == len(std):
        raise ValueError(
            f"log_probs, vocab_mean and vocab_std need one number per token, got {len(tokens)}, {len(mean)} and {len(std)}."
        )
    return min_k_score((tokens - mean) / np.maximum(std, SMALLEST_STD), k)


def reference_score(log_probs: Numbers, reference_log_probs: Numbers) -> float:
    """By how much the mean token log-probability is above that under a reference, nats per token (Watson et al. 2022, arXiv 2111.08440).

    Raises:
        ValueError: As `loss_score`.

    Example:
        >>> reference_score([-1.0, -1.0], [-2.0, -3.0])
        1.5
    """
    return loss_score(log_probs) - loss_score(reference_log_probs)


def gradient_norm_score(norm: float) -> float:
    """Minus the L2 norm of the loss's gradient: what was trained on pulls less at the weights (Wang et al. 2024, arXiv 2402.17012).

    Raises:
        ValueError: The norm is not a number from 0 on.

    Example:
        >>> gradient_norm_score(2.5)
        -2.5
    """
    if not norm >= 0:
        raise ValueError(f"a norm is a number from 0 on, got {norm}.")
    return -float(norm)


def _tokens(values: Numbers) -> np.ndarray:
    tokens = np.asarray(values, np.float64)
    if tokens.ndim != 1 or not len(tokens):
        raise ValueError(
            f"an answer needs at least one token, as numbers in one dimension, got an array of shape {tokens.shape}."
        )
    if np.isnan(tokens).any():
        raise ValueError(f"{np.isnan(tokens).sum()} of {len(tokens)} tokens have NaN where a number was expected.")
    return tokens
