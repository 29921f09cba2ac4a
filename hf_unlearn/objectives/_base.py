"""What an objective may see, and what it must give. Knows tensors; no model, no Trainer."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

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
    "counterfactual",
    "counterfactual_states",
)
"""What an objective can ask for besides the log-probabilities of the forget answers."""


@dataclass(frozen=True)
class SoftLabels:
    """Distributions over the next token: the likeliest tokens, and all others as one class.

    Attributes:
        ids: Which tokens, shape `(tokens, k)`.
        probabilities: Theirs, float32, same shape; what is missing to 1 belongs to all others together.
    """

    ids: torch.Tensor
    probabilities: torch.Tensor
    ROUNDING: ClassVar[float] = 1e-6


@dataclass(frozen=True)
class CounterfactualStates:
    """Hidden states on the tokens of the true answers.

    Attributes:
        current: Of the current model after the true question, with gradient, shape `(tokens, layers, width)`.
        stand_in: Of the original after counterfactual questions, same shape.
        variance: Of the original's states over answer tokens, mean over the width; shape `(layers,)`.
        rows: Of which example a token is, shape `(tokens,)`.
        weights: 1 / tokens of its answer; 0 where there is no state to compare with.
    """

    current: torch.Tensor
    stand_in: torch.Tensor
    variance: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class CounterfactualBatch:
    """The current model after the true questions, and what the original says after counterfactual ones.

    Attributes:
        logits: Of the current model, with gradient, on tokens of the original's answers and of the true ones; shape `(tokens, vocabulary)`.
        labels: What the original says of the same tokens.
        rows: Of which example a token is, shape `(tokens,)`.
        is_true_answer: Which tokens are of a true answer; bool, same shape.
        weights: 1 / tokens of its answer; 0 where the example has no counterfactual question.
        states: With "counterfactual_states".
    """

    logits: torch.Tensor
    labels: SoftLabels
    rows: torch.Tensor
    is_true_answer: torch.Tensor
    weights: torch.Tensor
    states: CounterfactualStates | None = None


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
        counterfactual: What the original says of unseen subjects, and the current model of the true one.
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
    counterfactual: CounterfactualBatch | None = None

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

    What else an objective may have, with its defaults, is declared in `ObjectiveBase`: `layer`, `alternatives`, `retain_term`, and the lifecycle `prepare`,
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
