"""Weighted gradient ascent."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def wga_loss(token_log_probs: torch.Tensor, *, beta: float) -> torch.Tensor:
    """sg(p^β) · log p of each answer token: ascent that lets go of tokens which are unlikely already.

    Args:
        token_log_probs: Nats, at most 0; any shape.
        beta: 0 = gradient ascent; larger lets go sooner.

    Returns:
        The same shape, at most 0.

    Example:
        p = ½, β = 1: ½ log ½.

        >>> wga_loss(torch.tensor([0.5]).log(), beta=1.0)
        tensor([-0.3466])
    """
    return (beta * token_log_probs.detach()).exp() * token_log_probs


@dataclass(frozen=True)
class WGA(ObjectiveBase):
    """Weighted gradient ascent (Wang et al. 2025, arXiv 2502.19301), mean over answer tokens. It needs no original.

    Attributes:
        beta: The authors' 1.
    """

    beta: float = 1.0
    name: str = field(default="wga", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=(), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(batch, length − 1)`."""
        return wga_loss(batch.token_log_probs, beta=self.beta) * batch.answer_mask
