"""What is kept of a model's answer to one token: numbers per token, from logits. Knows tensors, no model."""

import pyarrow as pa
import torch

from hf_unlearn.inference._logits import log_softmax


TOKEN_COLUMNS = {
    "log_probs": pa.list_(pa.float64()),
    "correct": pa.list_(pa.bool_()),
    "rank": pa.list_(pa.int32()),
    "entropy": pa.list_(pa.float64()),
    "vocab_mean": pa.list_(pa.float64()),
    "vocab_std": pa.list_(pa.float64()),
}


def token_log_probs(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of what `token_statistics` takes, `log_probs` alone; the same to the last bit."""
    return {"log_probs": log_softmax(logits).gather(1, targets[:, None])[:, 0].double()}


def token_statistics(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """What is kept of each answer token.

    Args:
        logits: Shape `(tokens, vocabulary)`.
        targets: Shape `(tokens,)`.

    Returns:
        By column of `answer_tables`, shape `(tokens,)`.

    Example:
        Over two tokens of probability ¾ and ¼ the entropy is 0.5623, and log p spreads by (log ¾ − log ¼) √(¾ · ¼) = 0.4757.

        >>> found = token_statistics(torch.tensor([[0.75, 0.25]]).log(), torch.tensor([1]))
        >>> found["rank"].tolist(), found["correct"].tolist()
        ([2], [False])
        >>> [round(found[name].item(), 4) for name in ("log_probs", "entropy", "vocab_mean", "vocab_std")]
        [-1.3863, 0.5623, -0.5623, 0.4757]
    """
    raw = logits.gather(1, targets[:, None])
    rank = 1 + (logits > raw).sum(-1, dtype=torch.int32)
    correct = rank == 1
    correct[correct.clone()] = (
        logits[correct].argmax(-1) == targets[correct]
    )  # of several most likely ones only the first
    log_p = log_softmax(logits)
    own = log_p.gather(1, targets[:, None])
    p = log_p.exp()
    mean = (p * log_p).sum(-1)
    if mean.isnan().any():  # 0 · −∞: rare, so that the common case need not look at every token once more
        log_p = log_p.clamp_min(-1e9)
        mean = (p * log_p).sum(-1)
    deviation = log_p.sub_(mean[:, None])
    variance = p.mul_(deviation).mul_(deviation).sum(-1)
    return {
        "log_probs": own[:, 0].double(),
        "correct": correct,
        "rank": rank,
        "entropy": -mean.double(),
        "vocab_mean": mean.double(),
        "vocab_std": variance.sqrt().double(),
    }
