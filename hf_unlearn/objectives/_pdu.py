"""Primal-dual unlearning: flatten the logits of forget answers under a bound on the retain loss."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase, StepLosses


def pdu_loss(logits: torch.Tensor) -> torch.Tensor:
    """(max z − mean z)²: 0 where all tokens are equally likely.

    Args:
        logits: Of answer tokens, shape `(tokens, vocabulary)`.

    Returns:
        Shape `(tokens,)`, at least 0.

    Example:
        Largest 3, mean 1.

        >>> pdu_loss(torch.tensor([[3.0, 0.0, 0.0]]))
        tensor([4.])
    """
    logits = logits.float()
    return (logits.amax(-1) - logits.mean(-1)).pow(2)


@dataclass(frozen=True)
class PDU(ObjectiveBase):
    """Primal-dual unlearning (Entesari et al. 2025, arXiv 2506.05314), mean over answer tokens.

    After each optimisation step the retain weight moves to max(0, λ + η (L_r − ε)): it grows as long as the retain loss is above its bound.
    The callback's `retain_weight` is λ₀.

    Attributes:
        bound: ε, of the retain loss, nats per token; the authors' 0.3.
        step_size: η.
    """

    bound: float = 0.3
    step_size: float = 1.0
    name: str = field(default="pdu", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=("logits",), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(answer tokens,)`."""
        assert batch.logits is not None
        return pdu_loss(batch.logits)

    def after_step(self, losses: StepLosses) -> float | None:
        """The dual step; nothing where no retain loss is computed."""
        return None if losses.retain is None else self.next_retain_weight(losses.retain_weight, losses.retain)

    def next_retain_weight(self, retain_weight: float, retain_loss: float) -> float:
        """max(0, λ + η (L_r − ε))."""
        return max(0.0, retain_weight + self.step_size * (retain_loss - self.bound))
