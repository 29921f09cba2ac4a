"""Gradient ascent weighted by saturation and importance."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def sat_imp_loss(token_log_probs: torch.Tensor, *, beta1: float, beta2: float) -> torch.Tensor:
    """sg(p^β₁ (1 − p)^β₂) · log p of each answer token.

    Args:
        token_log_probs: Nats, at most 0; any shape.
        beta1: Weight of saturation: tokens that are unlikely already are let go.
        beta2: Weight of importance: tokens that are certain are left alone.

    Returns:
        The same shape, at most 0.

    Example:
        p = ½, β₁ = 1, β₂ = 1: ¼ log ½.

        >>> sat_imp_loss(torch.tensor([0.5]).log(), beta1=1.0, beta2=1.0)
        tensor([-0.1733])
    """
    probabilities = token_log_probs.detach().exp()
    return probabilities**beta1 * (1 - probabilities).clamp_min(0) ** beta2 * token_log_probs


@dataclass(frozen=True)
class SatImp(ObjectiveBase):
    """Saturation and importance reweighting (Yang et al. 2025, arXiv 2505.11953), mean over answer tokens. It needs no original.

    Attributes:
        beta1: The authors' 5.
        beta2: The authors' 1.
    """

    beta1: float = 5.0
    beta2: float = 1.0
    name: str = field(default="sat_imp", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=(), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(batch, length − 1)`."""
        return sat_imp_loss(batch.token_log_probs, beta1=self.beta1, beta2=self.beta2) * batch.answer_mask
