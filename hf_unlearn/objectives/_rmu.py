"""Representation misdirection: push hidden states towards a fixed random direction."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ModelParts, ObjectiveBase, default_layer, mlp_outputs


def rmu_loss(hidden: torch.Tensor, direction: torch.Tensor, *, coefficient: float) -> torch.Tensor:
    """Mean over the width of (h − c·u)², per token.

    Args:
        hidden: States at the target layer, shape `(tokens, width)`.
        direction: u, of length 1; shape `(width,)`.
        coefficient: c, how long the misdirected state shall be.

    Returns:
        Shape `(tokens,)`, at least 0; 0 where h = c·u.

    Example:
        h = 0, u along one of two axes, c = 2: (4 + 0) / 2.

        >>> rmu_loss(torch.zeros(1, 2), torch.tensor([1.0, 0.0]), coefficient=2.0)
        tensor([2.])
    """
    return (hidden - coefficient * direction).pow(2).mean(-1)


def control_direction(width: int, seed: int) -> torch.Tensor:
    """A unit vector with uniform entries, drawn by seed (without one, results cannot be repeated: a known fault)."""
    entries = torch.rand(width, generator=torch.Generator().manual_seed(seed))
    return entries / entries.norm()


@dataclass(frozen=True)
class RMU(ObjectiveBase):
    """Representation misdirection for unlearning (Li et al. 2024, arXiv 2403.03218), mean over answer tokens.

    Trains the MLP output matrices of the target block and the two before it (all trainable parameters where there is an adapter), and the
    forward pass stops at the target block. Best with the retain term `HiddenRetain` at the same layer.

    Attributes:
        layer: Target block, from 1; None: 7/32 of the depth, the authors' 7 of 32.
        coefficient: c; the authors' 6.5 is for one model's scale.
        adaptive: c = `scale` · mean ‖h‖ of the original on the first forget examples (Dang et al. 2024), which fits any model.
        scale: Of the adaptive coefficient.
        seed: Of the direction.
    """

    layer: int | None = None
    coefficient: float = 6.5
    adaptive: bool = True
    scale: float = 5.0
    seed: int = 0
    name: str = field(default="rmu", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=("hidden",), init=False)

    def prepare(self, model: ModelParts) -> "RMU":
        """With its layer chosen."""
        return self if self.layer is not None else replace(self, layer=default_layer(len(model.blocks)))

    def trainable(self, model: ModelParts) -> Collection[str] | None:
        """The three matrices."""
        return mlp_outputs(model, self.layer)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token, shape `(answer tokens,)`."""
        assert batch.hidden is not None
        hidden = batch.hidden.float()
        coefficient = self.coefficient
        if self.adaptive:
            assert batch.original_hidden_norm is not None
            coefficient = self.scale * batch.original_hidden_norm
        direction = control_direction(hidden.shape[-1], self.seed).to(hidden.device)
        return rmu_loss(hidden, direction, coefficient=coefficient)
