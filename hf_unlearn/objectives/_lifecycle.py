"""What an objective may decide besides its losses: its layer, which weights train, and how the retain weight goes on.

Everything here has a default, so an object with the four members of `Objective` is complete; `completed` is the one place where defaults are
supplied. Knows modules and numbers; no Trainer.
"""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hf_unlearn.objectives._base import ForgetBatch, Objective, RetainTerm
from hf_unlearn.objectives._options import check_options


@dataclass(frozen=True)
class ModelParts:
    """The model before training, as an objective may look at it.

    Attributes:
        module: The model itself, not wrapped for several processes.
        blocks: Its blocks in order, for objectives that need "hidden"; else none.
        has_adapter: Whether an adapter trains instead of the model's own weights.
    """

    module: torch.nn.Module
    blocks: Sequence[torch.nn.Module] = ()
    has_adapter: bool = False


@dataclass(frozen=True)
class StepLosses:
    """What a finished optimisation step came to, over all its micro-batches and processes.

    Attributes:
        forget: Forget loss, unweighted; None if there was none.
        retain: Retain loss, unweighted; None where no retain term is computed.
        retain_weight: With which it was weighted.
    """

    forget: float | None
    retain: float | None
    retain_weight: float


@dataclass(frozen=True)
class StandInOptions:
    """How the original is asked about substitutes, for objectives that need "counterfactual".

    Attributes:
        num_counterfactuals: Substitutes per row.
        names_per_answer: Over how many of them a label is a mean.
        cleansing: Whether the forget answers' share is taken out of the labels.
        cleansing_context: How many tokens back a share looks; 0: to the beginning of the answer.
        pseudo_count: Of a share, see `functional.Continuations`.
        top_k: Tokens of a label.
        cache_gib: Most memory for what is computed before training.
        max_left_out: Share of the rows that may have no counterfactual question.
    """

    num_counterfactuals: int = 16
    names_per_answer: int = 8
    cleansing: bool = True
    cleansing_context: int = 0
    pseudo_count: float = 0.1
    top_k: int = 64
    cache_gib: float = 2.0
    max_left_out: float = 0.5


class ObjectiveBase:
    """An objective with its lifecycle; a dataclass that inherits from it has its options checked.

    Attributes:
        name: As in `Objective`.
        reduction: As in `Objective`.
        needs: As in `Objective`.
        layer: With "hidden": the block whose output is read, from 1; None: 7/32 of the depth.
        alternatives: With "alternative": "column" (the rows say), "refusal" or "generated" (by the original).
        retain_term: Name of the retain term that goes with it where none is chosen.
    """

    name: str
    reduction: str
    needs: tuple[str, ...]
    layer: int | None = None
    alternatives: str = "column"
    retain_term: str = "nll"

    def __post_init__(self) -> None:
        check_options(self, "objective")

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """As in `Objective`."""
        raise NotImplementedError

    def stand_in(self) -> StandInOptions:
        """With "counterfactual": how the original is asked."""
        return StandInOptions()

    def prepare(self, model: ModelParts) -> Objective:
        """Once, with the model before training: the objective to use, for example with its layer chosen."""
        return self

    def trainable(self, model: ModelParts) -> Collection[str] | None:
        """Names of the parameters that train, of those that would anyway; None: all of them."""
        return None

    def after_step(self, losses: StepLosses) -> float | None:
        """After each optimisation step: the retain weight from now on; None: as it is."""
        return None


class RetainBase:
    """A retain term with all its members; a dataclass that inherits from it has its options checked.

    Attributes:
        name: As in `RetainTerm`.
        needs_original: As in `RetainTerm`.
        compares: "logits", or "hidden" for the outputs of one block.
        layer: That block, from 1; None: the objective's.
    """

    name: str
    needs_original: bool
    compares: str = "logits"
    layer: int | None = None

    def __post_init__(self) -> None:
        check_options(self, "retain term")

    def __call__(self, output: torch.Tensor, original_output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As in `RetainTerm`."""
        raise NotImplementedError


def completed(objective: Objective) -> ObjectiveBase:
    """The objective with everything that an objective may have: its own members where it has them, else the defaults."""
    return objective if isinstance(objective, ObjectiveBase) else _CompletedObjective(objective)


def completed_retain(retain_term: RetainTerm) -> RetainBase:
    """The same for a retain term; one that has a `layer` compares hidden states."""
    return retain_term if isinstance(retain_term, RetainBase) else _CompletedRetain(retain_term)


def default_layer(depth: int) -> int:
    """7/32 of the depth, at least 1: the 7 of 32 of RMU's authors."""
    return max(1, round(depth * 7 / 32))


def mlp_outputs(model: ModelParts, layer: int | None) -> set[str] | None:
    """Names of the MLP output matrices (or what stands last in the MLP) of a block and the two before it; None with an adapter.

    Args:
        model: With its blocks.
        layer: The block, from 1; None: that of `default_layer`.

    Raises:
        ValueError: A block without such a matrix.
    """
    if model.has_adapter:
        return None
    layer = layer or default_layer(len(model.blocks))
    matrices = {id(_mlp_output(block)) for block in model.blocks[max(0, layer - 3) : layer]}
    return {name for name, parameter in model.module.named_parameters() if id(parameter) in matrices}


def _mlp_output(block: torch.nn.Module) -> torch.nn.Parameter:
    named = dict(block.named_parameters())
    found = [name for name, p in named.items() if p.dim() == 2 and ("mlp" in name or "down" in name)]
    ends = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "w2")
    last = [name for name in found if any(end in name for end in ends)]
    if not found:
        raise ValueError(
            f"no MLP output matrix was found in {type(block).__name__}; pass a PEFT model to choose what trains."
        )
    return named[(last or found)[-1]]


class _CompletedObjective(ObjectiveBase):
    """Any object with the four members. Where it reads hidden states and does not say what trains, that is what RMU trains."""

    def __init__(self, given: Any):
        self.given = given
        self.name, self.reduction, self.needs = given.name, given.reduction, given.needs
        self.layer = getattr(given, "layer", None)
        self.alternatives = getattr(given, "alternatives", "column")
        self.retain_term = getattr(given, "retain_term", "nll")
        if hasattr(given, "next_retain_weight") and not hasattr(given, "after_step"):
            warnings.warn(
                f"objective {given.name!r}: next_retain_weight(retain_weight, retain_loss) is after_step(losses) now and will not be "
                "called by the next release.",
                DeprecationWarning,
                stacklevel=2,
            )

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        return self.given(batch)

    def stand_in(self) -> StandInOptions:
        return self.given.stand_in() if hasattr(self.given, "stand_in") else StandInOptions()

    def prepare(self, model: ModelParts) -> Objective:
        return self.given.prepare(model) if hasattr(self.given, "prepare") else self

    def trainable(self, model: ModelParts) -> Collection[str] | None:
        if hasattr(self.given, "trainable"):
            return self.given.trainable(model)
        return mlp_outputs(model, self.layer) if "hidden" in self.needs else None

    def after_step(self, losses: StepLosses) -> float | None:
        if hasattr(self.given, "after_step"):
            return self.given.after_step(losses)
        if hasattr(self.given, "next_retain_weight") and losses.retain is not None:
            return self.given.next_retain_weight(losses.retain_weight, losses.retain)
        return None


class _CompletedRetain(RetainBase):
    """Any object with the three members."""

    def __init__(self, given: Any):
        self.given = given
        self.name, self.needs_original = given.name, given.needs_original
        self.layer = getattr(given, "layer", None)
        self.compares = getattr(given, "compares", "hidden" if hasattr(given, "layer") else "logits")

    def __call__(self, output: torch.Tensor, original_output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.given(output, original_output, labels)
