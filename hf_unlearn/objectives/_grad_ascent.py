"""Gradient ascent on the forget answers."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def grad_ascent_loss(token_log_probs: torch.Tensor) -> torch.Tensor:
    """−NLL of each answer token: minimising it makes the answer less likely.

    Args:
        token_log_probs: Nats, at most 0; any shape.

    Returns:
        The same shape; not bounded below, so it runs away: without a retain term and few steps it destroys the model.

    Example:
        >>> grad_ascent_loss(torch.tensor([0.25]).log())
        tensor([-1.3863])
    """
    return token_log_probs


@dataclass(frozen=True)
class GradientAscent(ObjectiveBase):
    """Minimise −NLL of the forget answers, token mean (Jang et al. 2022, arXiv 2210.01504; TOFU, arXiv 2401.06121).

    With the retain term `NLLRetain` this is GradDiff (Liu et al. 2022), with `KLRetain` it is TOFU's KL minimisation.
    """

    name: str = field(default="grad_ascent", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=(), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(batch, length − 1)`."""
        return grad_ascent_loss(batch.token_log_probs)
