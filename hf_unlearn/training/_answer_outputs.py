"""What a model's logits say of the labelled answers; a class is an answer of one token. Tensors in, tensors out."""

from typing import NamedTuple

import torch

from hf_unlearn.functional import answer_mask, answer_positions, token_log_probs


class AnswerOutputs(NamedTuple):
    """Of some examples.

    Attributes:
        log_probs: log p of each answer token, 0 outside the answer; shape `(batch, length − 1)`, of classes `(batch, 1)`; nats.
        mask: Which of them are answer tokens; same shape.
        logits: Of the answer tokens only, shape `(answer tokens, vocabulary)`.
        targets: The answer tokens, shape `(answer tokens,)`.
    """

    log_probs: torch.Tensor
    mask: torch.Tensor
    logits: torch.Tensor
    targets: torch.Tensor


def answer_outputs(logits: torch.Tensor, labels: torch.Tensor, is_classification: bool) -> AnswerOutputs:
    """Read answers, or classes, out of a forward pass.

    Args:
        logits: Shape `(batch, length, vocabulary)`, of a classifier `(batch, classes)`.
        labels: Unshifted, −100 outside the answer; shape `(batch, length)`, of a classifier `(batch,)`.
        is_classification: Whether an example has one class instead of an answer.
    """
    if is_classification:
        log_probs = logits.float().log_softmax(-1).gather(1, labels[:, None])
        return AnswerOutputs(log_probs, torch.ones_like(log_probs, dtype=torch.bool), logits, labels)
    rows, positions, targets = answer_positions(labels)
    return AnswerOutputs(token_log_probs(logits, labels), answer_mask(labels), logits[rows, positions], targets)
