"""Cross-entropy unlearning: distil the model's own distribution without the true token."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def ce_u_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """CE(z_θ, softmax(sg z_θ with the true token at −∞)).

    Args:
        logits: Shape `(tokens, vocabulary)`.
        targets: The answer tokens, shape `(tokens,)`.

    Returns:
        Shape `(tokens,)`; the gradient vanishes as the true token's probability does.

    Example:
        Three equal logits: the other two share the target, −log ⅓.

        >>> ce_u_loss(torch.zeros(1, 3), torch.tensor([0]))
        tensor([1.0986])
    """
    teacher = logits.detach().float().scatter(1, targets[:, None], float("-inf")).softmax(-1)
    return -(teacher * logits.float().log_softmax(-1)).sum(-1)


@dataclass(frozen=True)
class CEU(ObjectiveBase):
    """Cross-entropy unlearning (CE-U, Yang 2025, arXiv 2503.01224), mean over answer tokens.

    Its authors leave out the first token of each answer; here every token of the answer counts, so that an answer of one token is
    forgotten too.
    """

    name: str = field(default="ce_u", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=("logits",), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(answer tokens,)`."""
        assert batch.logits is not None and batch.targets is not None
        return ce_u_loss(batch.logits, batch.targets)
