"""What an objective may see, and what it must give. Knows tensors; no model, no Trainer."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from hf_unlearn.functional import sequence_log_probs


@dataclass(frozen=True)
class ForgetBatch:
    """Some forget examples as the current model sees them. Column `t` of a token tensor is about the token at `t + 1`.

    Attributes:
        token_log_probs: log p of each answer token, with gradient; 0 outside the answer; shape `(batch, length − 1)`, nats.
        answer_mask: Which of them are answer tokens; bool, same shape.
        original_log_probs: log p of each whole answer under the original, without gradient; shape `(batch,)`; None unless the
            objective asks for it.
    """

    token_log_probs: torch.Tensor
    answer_mask: torch.Tensor
    original_log_probs: torch.Tensor | None = None

    @property
    def log_probs(self) -> torch.Tensor:
        """log p of each whole answer, with gradient; float64 where the device has it, shape `(batch,)`."""
        return sequence_log_probs(self.token_log_probs)


@runtime_checkable
class Objective(Protocol):
    """A forget loss. Any object with these members will do; it need not inherit or be registered.

    Attributes:
        name: For logs and messages.
        reduction: "token" if `__call__` gives one loss per answer token, "example" if one per example. The mean over tokens or
            examples of a whole optimisation step is taken by the callback, so that it does not depend on micro-batches.
        needs_original: Whether `original_log_probs` must be there.
    """

    @property
    def name(self) -> str: ...

    @property
    def reduction(self) -> str: ...

    @property
    def needs_original(self) -> bool: ...

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """Losses to minimise, not reduced: shape `(batch, length − 1)` (0 outside the answer) or `(batch,)`."""


@runtime_checkable
class RetainTerm(Protocol):
    """What holds the rest of the model in place.

    Attributes:
        name: For logs and messages.
        needs_original: Whether the original's logits on retain batches are needed. If not, the Trainer's own loss is the term.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs_original(self) -> bool: ...

    def __call__(self, logits: torch.Tensor, original_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Losses per labelled token, shape `(labelled tokens,)`."""
