"""Per-token readings of answers as numbers per answer."""

from collections.abc import Callable

import numpy as np

from hf_unlearn.audit._rows import Rows


def mean_log_probs(rows: Rows, reading: str = "answers") -> np.ndarray:
    """Mean token log-probability of each answer, nats per token, shape `(items,)`."""
    return _sums(*rows.per_token(reading, "log_probs")) / rows.per_token(reading, "log_probs")[1]


def log_probs(rows: Rows, reading: str = "answers") -> np.ndarray:
    """Log-probability of each whole answer, nats, shape `(items,)`."""
    return _sums(*rows.per_token(reading, "log_probs"))


def of_correct(rows: Rows, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
    """A statistic of which tokens of each answer are the first choice, shape `(items,)`."""
    correct, lengths = rows.per_token("answers", "correct")
    return np.array([statistic(part) for part in np.split(correct, np.cumsum(lengths)[:-1])], np.float64)


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.add.reduceat(values.astype(np.float64), starts)
