"""Self-distillation with adjusted logits."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def undial_loss(
    logits: torch.Tensor, original_logits: torch.Tensor, targets: torch.Tensor, *, beta: float
) -> torch.Tensor:
    """CE(z_θ, softmax(z_o − β·onehot(y))): the original's distribution with the true token made β nats less likely.

    Args:
        logits: Of the current model, shape `(tokens, vocabulary)`.
        original_logits: Of the original, same shape.
        targets: The answer tokens, shape `(tokens,)`. Only answer tokens: −100 used as an index is a known fault.
        beta: Nats.

    Returns:
        Shape `(tokens,)`; least where the model is the adjusted original.

    Example:
        Two tokens, both models uniform, β so large that all weight goes to the other token: log 2.

        >>> undial_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]), beta=100.0)
        tensor([0.6931])
    """
    adjusted = original_logits.float().scatter_add(
        1, targets[:, None], torch.full_like(targets[:, None], -beta, dtype=torch.float)
    )
    return -(adjusted.softmax(-1) * logits.float().log_softmax(-1)).sum(-1)


@dataclass(frozen=True)
class UNDIAL(ObjectiveBase):
    """Self-distillation with adjusted logits (Dong et al. 2024, arXiv 2402.10052), mean over answer tokens.

    Attributes:
        beta: The authors' 10; they use no retain term and learning rate 1e-4.
    """

    beta: float = 10.0
    name: str = field(default="undial", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=("logits", "original_logits"), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(answer tokens,)`."""
        assert batch.logits is not None and batch.original_logits is not None and batch.targets is not None
        return undial_loss(batch.logits, batch.original_logits, batch.targets, beta=self.beta)
