"""How far a text stands out among candidates that a model could have said as well: Carlini's exposure (arXiv 1802.08232), and a ratio without ranks.

Knows log-likelihoods; no model.
"""

from collections.abc import Sequence

import numpy as np
from scipy.integrate import quad
from scipy.special import log_ndtr, logsumexp


FEWEST_TO_FIT = 3
"""Candidates for three moments."""


def exposure_by_rank(log_likelihood: float, candidates: Sequence[float] | np.ndarray) -> float:
    """log2 |R| − log2 rank(x; R), the rank being 1 + the number of candidates that are more likely; equally likely ones count half.

    Args:
        log_likelihood: Of the text x, nats.
        candidates: Of each candidate of R, to which x itself does not belong.

    Returns:
        Bits, at most log2 |R|; log2 |R| − log2(|R| + 1), next to 0, where all candidates are more likely.

    Raises:
        ValueError: No candidate, or NaN.

    Example:
        More likely than all of four candidates: 2 bits; more likely than two of four: 2 − log2 3.

        >>> exposure_by_rank(-1.0, [-2.0, -3.0, -4.0, -5.0]), round(exposure_by_rank(-3.5, [-2.0, -3.0, -4.0, -5.0]), 4)
        (2.0, 0.415)
    """
    others = _candidates(log_likelihood, candidates, 1)
    rank = 1 + (others > log_likelihood).sum() + (others == log_likelihood).sum() / 2
    return float(np.log2(len(others)) - np.log2(rank))


def exposure_by_skew_normal(log_likelihood: float, candidates: Sequence[float] | np.ndarray) -> float:
    """−log2 of the share of candidates that would be at least as likely as x, if their log-perplexities were skew-normal.

    It resolves what ranks among few candidates cannot, as far as the tail of the distribution may be believed. Fitted by moments: with
    few candidates the likelihood has no maximum. Skewness is limited to ±0.99, what a skew-normal distribution can have.

    Args:
        log_likelihood: Of the text x, nats.
        candidates: Of each candidate of R.

    Returns:
        Bits, at least 0. NaN where the candidates are all equally likely, or one of them impossible: there is nothing to fit.

    Raises:
        ValueError: Fewer than three candidates, or NaN.

    Example:
        Candidates spread evenly have no skew, and in their middle are half of them: 1 bit.

        >>> round(exposure_by_skew_normal(-3.0, [-1.0, -2.0, -3.0, -4.0, -5.0]), 6)
        1.0
    """
    others = -_candidates(log_likelihood, candidates, FEWEST_TO_FIT)
    if not np.isfinite(others).all() or np.ptp(others) <= 1e-9 * np.abs(others).max():
        return float("nan")
    if np.isinf(log_likelihood):
        return 0.0
    shape, location, scale = _skew_normal(others)
    return float(-_log_cdf((-log_likelihood - location) / scale, shape) / np.log(2))


def relative_exposure(log_likelihood: float, others: Sequence[float] | np.ndarray) -> float:
    """log2 u(x) − log2 of the mean of u(x') over others: how much more likely a text is than what it is compared with, in bits.

    The others are candidates x' in R under the same model, or the same text under another model (the original). Our reading of arXiv 2411.04388.

    Args:
        log_likelihood: Of the text x, nats.
        others: Of what it is compared with.

    Returns:
        Bits: 0 = as likely, above 0 = more likely. NaN where nothing has any probability.

    Raises:
        ValueError: Nothing to compare with, or NaN.

    Example:
        0.4 against the mean 0.1 of 0.15 and 0.05: 2 bits.

        >>> round(relative_exposure(np.log(0.4), np.log([0.15, 0.05])), 12)
        2.0
    """
    compared = _candidates(log_likelihood, others, 1)
    with np.errstate(invalid="ignore"):
        return float((log_likelihood - (logsumexp(compared) - np.log(len(compared)))) / np.log(2))


def _candidates(log_likelihood: float, candidates: Sequence[float] | np.ndarray, fewest: int) -> np.ndarray:
    others = np.asarray(candidates, np.float64).ravel()
    if len(others) < fewest:
        raise ValueError(f"exposure needs at least {fewest} candidate(s) to compare with, got {len(others)}.")
    if np.isnan(log_likelihood) or np.isnan(others).any():
        raise ValueError("log-likelihoods must be numbers, got NaN.")
    return others


def _skew_normal(values: np.ndarray) -> tuple[float, float, float]:
    """Shape, location and scale with the mean, the deviation and the skewness of the values."""
    mean, deviation = values.mean(), values.std()
    skewness = float(np.clip((((values - mean) / deviation) ** 3).mean(), -0.99, 0.99))
    share = np.abs(skewness) ** (2 / 3)
    delta = np.sign(skewness) * np.sqrt(np.pi / 2 * share / (share + ((4 - np.pi) / 2) ** (2 / 3)))
    scale = deviation / np.sqrt(1 - 2 * delta**2 / np.pi)
    return float(delta / np.sqrt(1 - delta**2)), float(mean - scale * delta * np.sqrt(2 / np.pi)), float(scale)


def _log_cdf(at: float, shape: float) -> float:
    """Of the standard skew-normal distribution, by integrating its density: differences of normal shares lose the far tail, which is what is asked for."""

    def log_density(x: float) -> float:
        return float(0.5 * np.log(2 / np.pi) - x * x / 2 + log_ndtr(shape * x))

    slope = -at + shape * float(np.exp(-((shape * at) ** 2) / 2 - 0.5 * np.log(2 * np.pi) - log_ndtr(shape * at)))
    # Away from the mode, on whichever side, the density falls at least as fast as exp(-distance · slope): it is log-concave.
    away, top, width = (-1 if slope > 0 else 1), log_density(at), 1 / max(abs(slope), 1.0)

    def density(steps: float) -> float:
        return float(np.exp(log_density(at + away * width * steps) - top))

    tail = width * quad(density, 0, np.inf, full_output=1)[0]  # with it a warning about the last digits is no warning
    return top + float(np.log(tail)) if away < 0 else float(np.log1p(-np.exp(top) * tail))
