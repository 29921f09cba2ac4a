"""Logits and labels to log-probabilities: the one place where the two are shifted against each other.

Knows about answer positions and the vocabulary. Does not know models, padding sides or datasets: a position counts if and
only if it carries a label.
"""

import torch
import torch.nn.functional as F


IGNORE_INDEX = -100
"""The label of a position that is not part of the answer (prompt, padding)."""


def answer_mask(labels: torch.Tensor) -> torch.Tensor:
    """Which predictions are scored: column `t` predicts the token at `t + 1`.

    Args:
        labels: Token ids, `IGNORE_INDEX` outside the answer; shape `(batch, length)`.

    Returns:
        Boolean, shape `(batch, length - 1)`.

    Example:
        >>> answer_mask(torch.tensor([[-100, -100, 7, 2]]))
        tensor([[False,  True,  True]])
    """
    return labels[:, 1:] != IGNORE_INDEX


def answer_positions(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where to read predictions, and what they should have been, as flat lists.

    Args:
        labels: Token ids, `IGNORE_INDEX` outside the answer; shape `(batch, length)`.

    Returns:
        `(rows, positions, targets)`, each of shape `(answer tokens,)`: the output of row `rows[i]` at `positions[i]`
        predicts token `targets[i]`. Ordered by row, then position.
    """
    rows, positions = answer_mask(labels).nonzero(as_tuple=True)
    return rows, positions, labels[rows, positions + 1]


def token_log_probs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each answer token, in nats; differentiable.

    Only answer positions enter the softmax, in float32 whatever the model's dtype (a bfloat16 log-softmax costs about 0.01
    nats a token).

    Args:
        logits: Model output, unshifted, shape `(batch, length, vocabulary)`.
        labels: Token ids, unshifted, `IGNORE_INDEX` outside the answer; shape `(batch, length)`.

    Returns:
        float32, shape `(batch, length - 1)`: at most 0; exactly 0 where there is no label (see `answer_mask`).

    Raises:
        ValueError: The shapes do not belong together.

    Example:
        Two tokens, uniform over four: log(1/4) for the one that carries a label.

        >>> token_log_probs(torch.zeros(1, 2, 4), torch.tensor([[-100, 3]]))
        tensor([[-1.3863]])
    """
    if logits.ndim != 3 or logits.shape[:2] != labels.shape:
        raise ValueError(
            f"logits must be (batch, length, vocabulary) and labels (batch, length); got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}. Pass both as the model and the collator give them, unshifted."
        )
    rows, positions, targets = answer_positions(labels)
    values = flat_token_log_probs(logits[rows, positions], targets)
    result = values.new_zeros(labels.shape[0], labels.shape[1] - 1)
    return result.index_put((rows, positions), values)


def flat_token_log_probs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of each target under its own row of logits, in nats.

    Args:
        logits: Shape `(positions, vocabulary)`, any floating dtype.
        targets: Token ids, shape `(positions,)`.

    Returns:
        float32 (float64 for float64 logits), shape `(positions,)`.
    """
    return -F.cross_entropy(_at_least_float32(logits), targets, reduction="none")


def step_divergence(logits_p: torch.Tensor, logits_q: torch.Tensor) -> torch.Tensor:
    """Exact Kullback–Leibler divergence KL(p‖q) of the next-token distributions, position by position.

    Args:
        logits_p: Shape `(positions, vocabulary)`.
        logits_q: Same shape.

    Returns:
        Nats per step, at least float32, shape `(positions,)`: never negative, exactly 0 for equal logits.

    Example:
        p = (1/2, 1/2), q = (3/4, 1/4): ½ log(2/3) + ½ log 2 = ½ log(4/3) = 0.143841.

        >>> step_divergence(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log())
        tensor([0.1438])
    """
    return log_prob_divergence(
        _at_least_float32(logits_p).log_softmax(-1), _at_least_float32(logits_q).log_softmax(-1)
    )


def log_prob_divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """`step_divergence` of distributions that are normalised already.

    Args:
        log_p: Normalised log-probabilities, shape `(positions, vocabulary)`; −inf where p is 0.
        log_q: Same shape.

    Returns:
        Nats per step, shape `(positions,)`: never negative, +inf where q excludes what p can produce.

    Example:
        What p cannot produce adds nothing, also where q cannot produce it either: log 1 − log ½ = 0.693147.

        >>> never = -torch.inf
        >>> log_prob_divergence(torch.tensor([[0.0, never, never]]), torch.tensor([[0.5, 0.5, 0.0]]).log())
        tensor([0.6931])
    """
    probability = log_p.exp()
    total = (probability * (log_p - log_q)).sum(-1)
    if total.isnan().any():  # 0 · (−∞ − …): rare, so that the common case need not look at every token twice
        total = torch.where(probability > 0, probability * (log_p - log_q), probability.new_zeros(())).sum(-1)
    # Rounding of two nearly equal distributions may leave −1e-8; the quantity itself cannot be negative.
    return total.clamp_min(0)


def sequence_log_probs(token_values: torch.Tensor) -> torch.Tensor:
    """Log-probability of each whole answer: the sum over its tokens.

    Args:
        token_values: From `token_log_probs`, zero outside the answer; shape `(batch, length - 1)`.

    Returns:
        Nats per sequence, float64 (float32 on devices without it), shape `(batch,)`.
    """
    dtype = torch.float32 if token_values.device.type == "mps" else torch.float64
    return token_values.sum(-1, dtype=dtype)


def _at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
