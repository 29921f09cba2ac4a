"""Retain terms: what holds the rest of the model in place. Composed with an objective, never inherited by one."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.functional import answer_positions, step_divergence
from hf_unlearn.objectives._lifecycle import RetainBase


def kl_retain_loss(logits: torch.Tensor, original_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """KL(p_o‖p_θ) at each labelled token, and nowhere else (averaging over prompt and padding too is a known fault).

    Args:
        logits: Of the current model, unshifted, shape `(batch, length, vocabulary)`.
        original_logits: Of the original, same shape.
        labels: Unshifted, −100 outside the answer; shape `(batch, length)`.

    Returns:
        Nats, at least 0, shape `(labelled tokens,)`; 0 where the model is the original.
    """
    rows, positions, _ = answer_positions(labels)
    return step_divergence(original_logits[rows, positions], logits[rows, positions])


@dataclass(frozen=True)
class NLLRetain(RetainBase):
    """The Trainer's own loss on its own training data, exactly as the Trainer computes it."""

    name: str = field(default="nll", init=False)
    needs_original: bool = field(default=False, init=False)

    def __call__(self, output: torch.Tensor, original_output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Never called: the Trainer computes this term."""
        raise TypeError("NLLRetain is the Trainer's own loss; there is nothing to compute here.")


def hidden_retain_loss(hidden: torch.Tensor, original_hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the width of (h_θ − h_o)², where labelled tokens are predicted, and nowhere else.

    Args:
        hidden: Outputs of one block, shape `(batch, length, width)`.
        original_hidden: The original's, same shape.
        labels: Unshifted, −100 outside the answer; shape `(batch, length)`.

    Returns:
        At least 0, shape `(labelled tokens,)`; 0 where the model is the original.
    """
    rows, positions, _ = answer_positions(labels)
    return (hidden[rows, positions].float() - original_hidden[rows, positions].float()).pow(2).mean(-1)


@dataclass(frozen=True)
class HiddenRetain(RetainBase):
    """Keep the hidden states of one block on the retain data where they were, token mean (the retain term of RMU).

    Attributes:
        layer: The block, from 1; None: that of the objective (RMU).
    """

    layer: int | None = None
    name: str = field(default="hidden", init=False)
    needs_original: bool = field(default=True, init=False)
    compares = "hidden"

    def __call__(self, output: torch.Tensor, original_output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One loss per labelled token, from hidden states."""
        return hidden_retain_loss(output, original_output, labels)


@dataclass(frozen=True)
class KLRetain(RetainBase):
    """Forward KL from the original to the current model on the labelled tokens of the retain data, token mean (TOFU)."""

    name: str = field(default="kl", init=False)
    needs_original: bool = field(default=True, init=False)

    def __call__(self, output: torch.Tensor, original_output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One loss per labelled token."""
        return kl_retain_loss(output, original_output, labels)
