"""Learning to refuse."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def idk_loss(alternative_token_log_probs: torch.Tensor) -> torch.Tensor:
    """NLL of each token of a refusal given in place of the forget answer.

    Args:
        alternative_token_log_probs: Nats, at most 0; any shape.

    Returns:
        The same shape, at least 0.

    Example:
        >>> idk_loss(torch.tensor([0.5]).log())
        tensor([0.6931])
    """
    return -alternative_token_log_probs


@dataclass(frozen=True)
class IDK(ObjectiveBase):
    """Minimise the NLL of refusals on the forget prompts, mean over their tokens (TOFU, arXiv 2401.06121)."""

    alternatives: str = field(default="refusal", init=False)
    name: str = field(default="idk", init=False)
    reduction: str = field(default="alternative_token", init=False)
    needs: tuple[str, ...] = field(default=("alternative",), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per token of the refusals, shape `(batch, length − 1)`."""
        assert batch.alternative_token_log_probs is not None
        return idk_loss(batch.alternative_token_log_probs)
