"""Push away from the original's distribution."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def scrub_loss(logits: torch.Tensor, original_logits: torch.Tensor) -> torch.Tensor:
    """−KL(p_o‖p_θ) per answer token (or class).

    Args:
        logits: Shape `(tokens, vocabulary)` or `(examples, classes)`.
        original_logits: Same shape.

    Returns:
        Shape `(tokens,)`, at most 0, not bounded below.

    Example:
        >>> scrub_loss(torch.zeros(1, 2), torch.zeros(1, 2)).abs()
        tensor([0.])
    """
    original = original_logits.float().log_softmax(-1)
    return -(original.exp() * (original - logits.float().log_softmax(-1))).sum(-1)


@dataclass(frozen=True)
class Scrub(ObjectiveBase):
    """Maximise the divergence from the original on the forget set (after SCRUB, Kurmanji et al. 2023, arXiv 2302.09880).

    The authors alternate between pushing on forget and distilling on retain; here both are terms of every step, with `KLRetain`. Not
    bounded below: few steps, or it destroys the model.
    """

    name: str = field(default="scrub", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=("logits", "original_logits"), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(answer tokens,)`."""
        assert batch.logits is not None and batch.original_logits is not None
        return scrub_loss(batch.logits, batch.original_logits)
