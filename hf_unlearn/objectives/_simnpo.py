"""Simple negative preference optimisation: no original model."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def simnpo_loss(log_probs: torch.Tensor, num_tokens: torch.Tensor, *, beta: float, delta: float = 0.0) -> torch.Tensor:
    """−(2/β) log σ(β (−log p(y)/|y| − δ)), per example.

    Args:
        log_probs: Of whole answers, shape `(batch,)`.
        num_tokens: |y|, shape `(batch,)`.
        beta: Above 0.
        delta: How far per token the answer should fall before the loss lets go, nats.

    Returns:
        Shape `(batch,)`: at least 0, towards 0 as the answer is forgotten.

    Example:
        log p = −2 over 2 tokens, β = 2: −log σ(2) = log(1 + e⁻²).

        >>> simnpo_loss(torch.tensor([-2.0]), torch.tensor([2]), beta=2.0)
        tensor([0.1269])
    """
    return -(2 / beta) * F.logsigmoid(beta * (-log_probs / num_tokens - delta))


@dataclass(frozen=True)
class SimNPO(ObjectiveBase):
    """Length-normalised NPO without the original (Fan et al. 2024, arXiv 2410.07163), mean over examples.

    Attributes:
        beta: The authors' default is 4.5; they weigh the forget term with 0.125.
        delta: Their margin, 0.

    Raises:
        ValueError: `beta` is not positive.
    """

    beta: float = field(default=4.5, metadata={"above": 0})
    delta: float = 0.0
    name: str = field(default="simnpo", init=False)
    reduction: str = field(default="example", init=False)
    needs: tuple[str, ...] = field(default=(), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per example, shape `(batch,)`."""
        return simnpo_loss(batch.log_probs, batch.answer_mask.sum(1), beta=self.beta, delta=self.delta)
