"""Inverted hinge loss."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def ihl_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 + p(y) − max_{v ≠ y} p(v): make the next best token overtake the true one, and no more.

    Args:
        logits: Shape `(tokens, vocabulary)`.
        targets: The answer tokens, shape `(tokens,)`.

    Returns:
        Shape `(tokens,)`, from 0 (another token is certain) to 2 (the true one is).

    Example:
        >>> ihl_loss(torch.tensor([[0.5, 0.3, 0.2]]).log(), torch.tensor([0]))
        tensor([1.2000])
    """
    probabilities = logits.float().softmax(-1)
    true = probabilities.gather(1, targets[:, None])[:, 0]
    return 1 + true - probabilities.scatter(1, targets[:, None], -1.0).amax(-1)


@dataclass(frozen=True)
class IHL(ObjectiveBase):
    """Inverted hinge loss (LoKU, Cha et al. 2025, arXiv 2408.06621), mean over answer tokens; there with FILA adapters."""

    name: str = field(default="ihl", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=("logits",), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(answer tokens,)`."""
        assert batch.logits is not None and batch.targets is not None
        return ihl_loss(batch.logits, batch.targets)
