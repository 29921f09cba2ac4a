"""What an objective may see, and what it must give. Knows tensors; no model, no Trainer."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from hf_unlearn.functional import sequence_log_probs


REDUCTIONS = ("token", "example", "alternative_token")
NEEDS = (
    "logits",
    "original_log_probs",
    "original_logits",
    "hidden",
    "alternative",
    "original_alternative_log_probs",
)
"""What an objective can ask for besides the log-probabilities of the forget answers."""


@dataclass(frozen=True)
class ForgetBatch:
    """Some forget examples as the current model sees them. Column `t` of a token tensor is about the token at `t + 1`.

    A classifier's class is an answer of one token. What an objective does not ask for by `needs` is None.

    Attributes:
        token_log_probs: log p of each answer token, with gradient; 0 outside the answer; shape `(batch, length − 1)`, nats.
        answer_mask: Which of them are answer tokens; bool, same shape.
        original_log_probs: log p of each whole answer under the original, without gradient; shape `(batch,)`.
        logits: Of the answer tokens only, with gradient; shape `(answer tokens, vocabulary)`.
        targets: The answer tokens themselves; shape `(answer tokens,)`; with `logits`.
        original_logits: The original's, without gradient; as `logits`.
        hidden: Outputs of the objective's `layer` where answer tokens are predicted, with gradient; shape `(answer tokens, width)`.
        original_hidden_norm: Mean length of such a state under the original, on the first forget examples; with `hidden`.
        alternative_token_log_probs: As `token_log_probs`, of the alternative answers to the same prompts; with `alternative`.
        alternative_mask: As `answer_mask`, of those.
        original_alternative_log_probs: As `original_log_probs`, of those.
    """

    token_log_probs: torch.Tensor
    answer_mask: torch.Tensor
    original_log_probs: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    original_logits: torch.Tensor | None = None
    hidden: torch.Tensor | None = None
    original_hidden_norm: float | None = None
    alternative_token_log_probs: torch.Tensor | None = None
    alternative_mask: torch.Tensor | None = None
    original_alternative_log_probs: torch.Tensor | None = None

    @property
    def log_probs(self) -> torch.Tensor:
        """log p of each whole answer, with gradient; float64 where the device has it, shape `(batch,)`."""
        return sequence_log_probs(self.token_log_probs)

    @property
    def alternative_log_probs(self) -> torch.Tensor:
        """log p of each whole alternative answer, with gradient; as `log_probs`."""
        assert self.alternative_token_log_probs is not None
        return sequence_log_probs(self.alternative_token_log_probs)


@runtime_checkable
class Objective(Protocol):
    """A forget loss. Any object with these members will do; it need not inherit or be registered.

    Attributes:
        name: For logs and messages.
        reduction: "token" if `__call__` gives one loss per answer token, "example" if one per example, "alternative_token" if one per
            token of the alternative answers. The mean over tokens or examples of a whole optimisation step is taken by the
            callback, so that it does not depend on micro-batches.
        needs: Which of `NEEDS` must be there; () = the log-probabilities of the forget answers are enough.

    What else an objective may have, with its defaults, is declared in `ObjectiveBase`: `layer`, `alternatives`, and the lifecycle `prepare`,
    `trainable` and `after_step`.
    """

    @property
    def name(self) -> str: ...

    @property
    def reduction(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]: ...

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """Losses to minimise, not reduced; 0 outside the answer where the shape has such places."""


@runtime_checkable
class RetainTerm(Protocol):
    """What holds the rest of the model in place.

    Attributes:
        name: For logs and messages.
        needs_original: Whether the original's output on retain batches is needed. If not, the Trainer's own loss is the term.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs_original(self) -> bool: ...

    def __call__(self, output: torch.Tensor, original_output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Losses per labelled token, shape `(labelled tokens,)`, from logits (hidden states where `compares` says so, see `RetainBase`)."""
