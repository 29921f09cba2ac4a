"""Negative preference optimisation."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def npo_loss(log_probs: torch.Tensor, original_log_probs: torch.Tensor, *, beta: float) -> torch.Tensor:
    """−(2/β) log σ(−β r) with r = log p_θ(y) − log p_o(y), per example.

    Args:
        log_probs: Of whole answers under the current model, shape `(batch,)`.
        original_log_probs: The same under the original.
        beta: Above 0; as it goes to 0 the gradient becomes that of gradient ascent on summed log-probabilities.

    Returns:
        Shape `(batch,)`: at least 0; (2/β) log 2 where the model is the original; towards 0 as the answer is forgotten, and the
        gradient with it, which is what keeps it from running away.

    Example:
        At r = 0 and β = 1: 2 log 2.

        >>> npo_loss(torch.zeros(1), torch.zeros(1), beta=1.0)
        tensor([1.3863])
    """
    return -(2 / beta) * F.logsigmoid(-beta * (log_probs - original_log_probs))


@dataclass(frozen=True)
class NPO(ObjectiveBase):
    """Negative preference optimisation (Zhang et al. 2024, arXiv 2404.05868, eq. 3), mean over examples.

    Attributes:
        beta: The paper's inverse temperature; its default is 0.1.

    Raises:
        ValueError: `beta` is not positive.
    """

    beta: float = field(default=0.1, metadata={"above": 0})
    name: str = field(default="npo", init=False)
    reduction: str = field(default="example", init=False)
    needs: tuple[str, ...] = field(default=("original_log_probs",), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per example, shape `(batch,)`."""
        assert batch.original_log_probs is not None
        return npo_loss(batch.log_probs, batch.original_log_probs, beta=self.beta)
