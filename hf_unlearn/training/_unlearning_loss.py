"""What unlearning minimises, step by step: `retain_weight · retain loss + forget_weight · forget loss`.

The core, which any training loop can use: it takes a step's forget examples, composes the two terms, and at the end of a step looks whether
all is well. Knows a model and Accelerate. Does not know a Trainer, its batches or its logs; `_callback` and `_loop` bind it to loops.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from hf_unlearn.config import ForgetConfig
from hf_unlearn.inference import LoadedModel
from hf_unlearn.objectives import Objective, RetainTerm, StepLosses, completed, get_objective, get_retain_term
from hf_unlearn.training._collapse import Collapse
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._counterfactual_rows import stand_in_data
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._forget_stream import ForgetStream
from hf_unlearn.training._forget_term import ForgetTerm
from hf_unlearn.training._retain_part import RetainPart
from hf_unlearn.training._step import Step, Window
from hf_unlearn.training._trained_weights import trained_weights


class UnlearningLoss:
    """Both terms of the loss, and one optimisation step after the other.

    A step is: `begin`; per micro-batch `forget_share` and `total`; `end`, when all gradients are there; `after_step`, when it is over.

    Args:
        compute: Whose model forgets; the original is the model as it is now.
        forget: What must go.
        config: Objective, retain term, weights and saliency.
        forget_batch_size: Forget examples per optimisation step, all processes and micro-batches together.
        seed: Of their order.
        train_dataset: What stays, for objectives that look at it; tokenized, or rows of text.

    Attributes:
        objective: As it was given, by name or itself.
        retain_term: The same of the retain term.
        forget_weight: Of the forget term.
        retain_weight: Of the retain term; an objective's `after_step` may move it.
        stream: Which forget examples a step takes.
        term: The forget term.
        retain: The retain term where it compares with the original.
        trained: Which weights train.

    Raises:
        ValueError: What cannot work; see `UnlearningCallback`.
    """

    def __init__(
        self,
        compute: Compute,
        forget: ForgetData,
        config: ForgetConfig,
        *,
        forget_batch_size: int,
        seed: int,
        train_dataset: Any = None,
    ):
        named = config.objective
        self.objective: Objective = get_objective(named)
        self.retain_term: RetainTerm = get_retain_term(config.retain_term, named)
        self.forget_weight, self.retain_weight = config.forget_weight, config.retain_weight
        self.compute, self.name = compute, named if isinstance(named, str) else self.objective.name
        self.stream = ForgetStream(len(forget.examples), forget_batch_size, seed)
        forget, retain = stand_in_data(completed(self.objective), forget, train_dataset, seed=seed)
        self.term = ForgetTerm(compute, self.objective, forget, seed=seed, retain=retain)
        self.retain = RetainPart(self.retain_term, self.term, counts=bool(self.retain_weight))
        names = self.term.objective.trainable(self.term.parts)
        self.trained = trained_weights(compute, forget, names, config.saliency)
        self._collapse = Collapse(self.name, self.term.num_outputs(), forget.is_classification)
        self._step: Step | None = None
        self._mean_answer: float | None = None
        self._gradients_seen = False
        self._window = Window()

    @property
    def compares(self) -> bool:
        """Whether anything is compared with the original."""
        return self.retain.original is not None or any(
            need.startswith(("original", "counterfactual")) for need in self.objective.needs
        )

    @property
    def in_step(self) -> bool:
        """Whether a step has begun."""
        return self._step is not None

    # One optimisation step.

    def begin(self, step: int, micro_batches: int) -> None:
        """Decide which forget examples an optimisation step takes.

        Args:
            step: From 0.
            micro_batches: Of this process; how the step is cut.
        """
        accelerator = self.compute.accelerator
        mine = self.stream.micro_batches(
            step, count=micro_batches, rank=accelerator.process_index, num_processes=accelerator.num_processes
        )
        self._step = Step(step + 1, mine, self.term.normaliser(self.stream.step(step)))

    def forget_share(self, model: torch.nn.Module, *, last: bool = False) -> torch.Tensor | None:
        """The next micro-batch's share of the step's mean forget loss, with gradient; None if it has no examples.

        Args:
            model: The model in training, perhaps wrapped.
            last: Whether no other micro-batch of this step follows; then all that is left is taken.
        """
        assert self._step is not None
        indices, weight, processes = self._step.take(last=last), 1.0, self.compute.accelerator.num_processes
        if not len(indices):
            if processes == 1:
                return None
            # All processes must run the model equally often, or they wait for each other for ever.
            indices, weight = np.array([0]), 0.0
        losses, answers = self.term.losses(model, indices, visit=self.stream.visit(self._step.number - 1))
        if answers is not None and weight:
            self._step.add_answers(self._collapse.counted(answers))
        # The gradients' mean over processes turns each process's share into a part of the whole sum only if scaled up first.
        return weight * losses.sum().float() / self._step.normaliser * processes

    def total(
        self, model: torch.nn.Module, retain: torch.Tensor | None, forget: torch.Tensor | None, scale: int = 1
    ) -> torch.Tensor:
        """The weighted sum of both, of one micro-batch.

        Args:
            model: Whose parameters a loss without terms hangs on.
            retain: Retain loss as the loop counts it; None: there is none.
            forget: As `forget_share` gives it.
            scale: By what the loop will divide the loss before it goes backward, 1 or its number of micro-batches.
        """
        assert self._step is not None
        # A loop divides where its loss is a mean per micro-batch; the forget term never is.
        forget = None if forget is None else forget * scale
        parts = {"retain_loss": (self.retain_weight, retain), "forget_loss": (self.forget_weight, forget)}
        terms = []
        for part, (weight, value) in parts.items():
            if value is not None:
                self._step.add(part, value.detach().float() / scale)
                terms.append(weight * value)
        if not terms:  # no retain term, and no forget example in this micro-batch
            terms = [parameter.sum() * 0.0 for parameter in model.parameters() if parameter.requires_grad]
        return torch.stack([term.to(terms[0].device) for term in terms]).sum()

    def end(self) -> None:
        """All gradients of the step are there: mask them, or refuse to step where something is wrong.

        Raises:
            Exception: On all processes, where the loss of one is not a number or reaches no weight; the weights stay as they were.
        """
        assert self._step is not None
        fault = self._step.fault({"forget_loss": self.name, "retain_loss": self.retain_term.name})
        if (
            fault is None and not self._gradients_seen and not self.compute.is_sharded
        ):  # those keep gradients elsewhere
            fault = self._step.missing_gradients(self.compute.model)
            self._gradients_seen = fault is None
        self._mean_answer = self._step.agree(self.compute.accelerator, fault)
        self._window.add(self._step)
        self.trained.mask_gradients(self.compute.model)

    def after_step(self) -> bool:
        """The step is done: let the objective move the retain weight.

        Returns:
            Whether the answers have collapsed.
        """
        assert self._step is not None
        found = self.term.objective.after_step(StepLosses(**self._step.means, retain_weight=self.retain_weight))
        self.retain_weight = self.retain_weight if found is None else float(found)
        return self._collapse.has_come(self._mean_answer, self._step.number)

    # Over several steps.

    @property
    def has_collapsed(self) -> bool:
        """Whether the forget answers of a step were far less likely than guessing."""
        return self._collapse.has_come_before

    def restart(self, model: LoadedModel, accelerator: Accelerator) -> None:
        """A training begins, perhaps after one that was broken off, with what the loop has made of model and accelerator by now."""
        self.compute.model, self.compute.accelerator = model, accelerator
        self._step, self._window = None, Window()

    def leave(self) -> None:
        """No step is in progress any more."""
        self._step = None

    def shrink(self, forget_batch_size: int) -> None:
        """Fewer forget examples per step from now on."""
        self.stream = replace(self.stream, per_step=forget_batch_size)

    def logged(self) -> dict[str, float]:
        """Mean of each part of the loss, over steps and processes, since this was last asked."""
        return self._window.means(self.compute.accelerator)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {"retain_weight": self.retain_weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.retain_weight = float(state["retain_weight"])
