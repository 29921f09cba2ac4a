"""Unlearning inside the Trainer that is already there.

The Trainer's own run on its own data is the retain term; the callback adds the forget term to each optimisation step. It works by standing
in for two bound methods while training runs, `compute_loss` and `log`, and takes its hands off afterwards.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import torch
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState

from hf_unlearn.data import DataLike
from hf_unlearn.objectives import Objective, RetainTerm, get_objective, get_retain_term
from hf_unlearn.training._collapse import Collapse
from hf_unlearn.training._forget_data import place_model, prepare_forget_data
from hf_unlearn.training._forget_stream import ForgetStream
from hf_unlearn.training._forget_term import ForgetTerm, trained_alone
from hf_unlearn.training._resume import (
    Run,
    last_whole_checkpoint,
    run_settings,
    saved_state,
    say_if_done,
    starting_weights,
)
from hf_unlearn.training._retain_part import RetainPart
from hf_unlearn.training._run_checks import check_trainable
from hf_unlearn.training._step import Step, Window, micro_batch_scale, missing_gradients
from hf_unlearn.training._vacuity import warn_if_unknown_in


class UnlearningCallback(TrainerCallback, ExportableState):
    """Adds a forget term to a Trainer's training: each optimisation step minimises

    `retain_weight · (the Trainer's own loss, or another retain term) + forget_weight · forget term`.

    The mean of the forget term is over the forget examples (or their answer tokens) of the whole optimisation step, over all
    micro-batches and processes, so 8×1, 4×2, 2×4 and 1×8 accumulation and any number of processes give one trajectory. Which examples a step
    takes follows from the seed and the step's number, so a resumed run continues exactly. `forget_loss` and `retain_loss`, unweighted,
    appear in the logs beside `loss`.

    **The original** (for objectives and retain terms that need it) is the model as it is when the callback is made. So make the callback
    before training, also when you resume: the Trainer loads the checkpoint later. A checkpoint of another run (objective, retain term,
    weights, data, optimiser's settings, adapter, model) is refused, and one that was not written to its end is passed over. A warning says when the original does
    not know the forget answers (another prompt format or tokenizer, data it has never seen): then there is nothing to forget.

    **Noise**: forget examples, and retain examples where the retain term compares with the original, pass through the model as in eval
    mode, though with gradient: the original has no dropout and no NEFTune either, and noise would look like forgetting. Normalisation
    layers therefore learn nothing from these passes. The Trainer's own loss keeps all its noise.

    Args:
        trainer: A `transformers.Trainer` or a subclass such as TRL's `SFTTrainer`; its `train_dataset` is the retain set.
        forget_dataset: What must go: rows as `hf_unlearn.data.tokenize_examples` takes them, or a spec.
        objective: An objective, or its name in `hf_unlearn.OBJECTIVES`, or "grad_diff" or "kl_min".
        retain_term: "nll" (the Trainer's own loss), "kl", "hidden", or an object; default: what the objective's name says
            ("grad_diff", "kl_min"), else "nll".
        forget_weight: Of the forget term; above 0.
        retain_weight: Of the retain term; 0 leaves it out, and its forward pass with it.
        processing_class: The tokenizer; default: the Trainer's.
        prompt_template: How the forget questions are put, a string with `{question}`; default: the tokenizer's chat template, else
            `data.QUESTION_TEMPLATE`. It must be the one that the model was trained with.
        forget_batch_size: Forget examples per optimisation step, all processes and micro-batches together; default: as many as retain
            examples. Shrinks in proportion where `auto_find_batch_size` does.
        seed: Of the order of forget examples; default: the Trainer's `data_seed`, or its `seed`.
        allow_overlap: Accept forget rows that are also in the retain set.
        saliency: Train only this share of the weights, those whose gradient of the forget loss is largest at the start (SalUn's mask);
            None: all.
        stop_on_collapse: End the training when the forget answers have become far less likely than guessing, which a warning says
            in any case.

    Raises:
        ValueError: An unknown objective, weights out of range, a forget set that is empty, smaller than a step, overlaps with the
            retain set, or does not fit the model, or a model whose weights are all frozen; all before the model runs.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        forget_dataset: DataLike,
        objective: str | Objective = "npo",
        retain_term: str | RetainTerm | None = None,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        processing_class: PreTrainedTokenizerBase | None = None,
        prompt_template: str | None = None,
        forget_batch_size: int | None = None,
        seed: int | None = None,
        allow_overlap: bool = False,
        saliency: float | None = None,
        stop_on_collapse: bool = False,
    ):
        check_trainable(trainer.model)
        self.objective, self.retain_term = get_objective(objective), get_retain_term(retain_term, objective)
        if not forget_weight > 0 or not retain_weight >= 0:
            raise ValueError(
                f"forget_weight must be above 0 and retain_weight at least 0; got {forget_weight} and {retain_weight}."
            )
        self.forget_weight, self.retain_weight = float(forget_weight), float(retain_weight)
        self.trainer = trainer
        args = trainer.args
        self.forget = prepare_forget_data(
            trainer,
            forget_dataset,
            processing_class=processing_class,
            allow_overlap=allow_overlap,
            prompt_template=prompt_template,
        )
        self._retain_rows_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self._wanted_per_step = forget_batch_size or self._retain_rows_per_step
        order_seed = seed if seed is not None else args.data_seed if args.data_seed is not None else args.seed
        self.stream = ForgetStream(len(self.forget.examples), self._wanted_per_step, order_seed)
        place_model(trainer)
        self.prior_knowledge = warn_if_unknown_in(trainer, self.forget)
        self.term = ForgetTerm(trainer, self.objective, self.forget, seed=order_seed)
        compares = self.retain_term.needs_original and retain_weight
        self.retain = RetainPart(trainer, self.retain_term, self.term, self.term.original() if compares else None)
        if saliency is not None and not 0 < saliency <= 1:
            raise ValueError(f"saliency must be above 0 and at most 1, got {saliency}.")
        self.saliency, self.stop_on_collapse = saliency, stop_on_collapse
        self._masks = self._saliency_masks()
        self._frozen: ExitStack | None = None
        self._name = objective if isinstance(objective, str) else self.objective.name
        self._collapse = Collapse(self._name, self.term.num_outputs(), self.forget.is_classification)
        self._gradients_seen = False
        self._mean_answer: float | None = None
        self._found: dict[str, Any] = {}
        self._step: Step | None = None
        self._window = Window()
        compares = self.retain.original is not None or any("original" in need for need in self.objective.needs)
        numbers = {"forget_weight": self.forget_weight, "retain_weight": self.retain_weight, "saliency": saliency}
        numbers |= {"forget_batch_size": self._wanted_per_step, "seed": order_seed}
        numbers["retain_batch_size"] = self._retain_rows_per_step
        settings = run_settings(trainer, self.objective, self.retain_term, self.forget, **numbers)
        self._run = Run(settings, starting_weights(trainer.model), compares)
        trainer.train = self._that_lets_go(trainer.train)

    # The Trainer's events.

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stand in for `compute_loss` and `log`.

        Raises:
            ValueError: The callback was made for another Trainer, or the checkpoint by another run.
        """
        if state is not self.trainer.state:
            raise ValueError(
                "this UnlearningCallback was made for another Trainer and would do nothing in this one; make a new one with "
                "UnlearningCallback(trainer, …)."
            )
        self._release()  # of an attempt with a larger batch
        self._window = Window()
        self._fit_batch_size()
        self._restore(state)
        self._frozen = self._choose_parameters()
        self._found = {name: vars(self.trainer).get(name) for name in ("compute_loss", "log")}
        self.trainer.compute_loss = self._with_forget_term(self.trainer.compute_loss)
        self.trainer.log = self._with_parts(self.trainer.log)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give both methods back."""
        self._release()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Decide which forget examples the coming optimisation step takes."""
        micro_batches = self.stream.micro_batches(
            state.global_step,
            count=self.trainer.current_gradient_accumulation_steps,
            rank=args.process_index,
            num_processes=args.world_size,
        )
        self._step = Step(micro_batches, self.term.normaliser(self.stream.step(state.global_step)))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse to step, on all processes, where the loss of one is not a number or reaches no weight; the weights stay as they were."""
        assert self._step is not None
        self._mean_answer = self._step.mean_answer(self.trainer.accelerator, self._fault(state.global_step + 1))
        self._window.add(self._step)
        for name, parameter in self.trainer.model.named_parameters():
            if name in self._masks and parameter.grad is not None:
                parameter.grad.mul_(self._masks[name])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the retain weight where the objective asks for it, and look whether the answers have collapsed."""
        following = getattr(self.objective, "next_retain_weight", None)
        if following is not None and self._step is not None and "retain_loss" in self._step.sums:
            shared = self.trainer.accelerator.reduce(self._step.sums["retain_loss"], reduction="mean")
            self.retain_weight = float(following(self.retain_weight, float(shared)))
        if self._collapse.has_come(self._mean_answer, state.global_step) and self.stop_on_collapse:
            control.should_training_stop = True

    # The two methods that stand in.

    def _with_forget_term(self, compute_loss: Callable) -> Callable:
        def compute_loss_with_forget_term(
            model: torch.nn.Module,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: torch.Tensor | int | None = None,
        ) -> Any:
            # Evaluation, or somebody else's use of the method: as if we were not there.
            if self._step is None or not (model.training and torch.is_grad_enabled()):
                return compute_loss(model, inputs, return_outputs, num_items_in_batch)
            indices = self._step.take()
            scale = micro_batch_scale(self.trainer, num_items_in_batch)
            retain, outputs = None, None
            if self.retain_weight:
                retained = self.retain.loss(compute_loss, model, inputs, return_outputs, num_items_in_batch)
                retain, outputs = retained if return_outputs else (retained, None)
            forget = self._forget_part(model, indices)
            # The Trainer divides by the accumulation steps where a loss is a mean per micro-batch; ours never is.
            forget = None if forget is None else forget * scale
            parts = {"retain_loss": (self.retain_weight, retain), "forget_loss": (self.forget_weight, forget)}
            terms = []
            for part, (weight, value) in parts.items():
                if value is not None:
                    self._step.add(part, value.detach().float() / scale)
                    terms.append(weight * value)
            if not terms:  # no retain term, and no forget example in this micro-batch
                terms = [parameter.sum() * 0.0 for parameter in model.parameters() if parameter.requires_grad]
            total = torch.stack([term.to(terms[0].device) for term in terms]).sum()
            return (total, outputs) if return_outputs else total

        return compute_loss_with_forget_term

    def _with_parts(self, log: Callable) -> Callable:
        def log_with_parts(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if "loss" in logs:
                logs |= self._window.means(self.trainer.accelerator)
            log(logs, *args, **kwargs)

        return log_with_parts

    def _release(self) -> None:
        for name, found in self._found.items():
            if found is None:
                vars(self.trainer).pop(name, None)  # it was the class's method
            else:
                setattr(self.trainer, name, found)
        self._found, self._step = {}, None
        if self._frozen is not None:
            self._frozen.close()
            self._frozen = None

    def _that_lets_go(self, train: Callable) -> Callable:
        """The Trainer's `train`, after which, however it ends, the Trainer and the model are as they were found."""

        @wraps(train)
        def train_and_let_go(resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
            if resume_from_checkpoint is True:
                resume_from_checkpoint = last_whole_checkpoint(self.trainer.args.output_dir) or True
            if isinstance(resume_from_checkpoint, (str, os.PathLike)):
                self._run.check_checkpoint(resume_from_checkpoint)
            try:
                return train(resume_from_checkpoint, *args, **kwargs)
            finally:
                self._release()

        return train_and_let_go

    # The forget part of the loss.

    def _forget_part(self, model: torch.nn.Module, indices: np.ndarray) -> torch.Tensor | None:
        """This micro-batch's share of the step's mean; None if it has no examples."""
        assert self._step is not None
        weight = 1.0
        if not len(indices):
            if self.trainer.args.world_size == 1:
                return None
            # All processes must run the model equally often, or they wait for each other for ever.
            indices, weight = np.array([0]), 0.0
        losses, answers = self.term.losses(model, indices)
        if answers is not None and weight:
            self._step.add_answers(self._collapse.counted(answers))
        # The gradients' mean over processes turns each process's share into a part of the whole sum only if scaled up first.
        return weight * losses.sum().float() / self._step.normaliser * self.trainer.args.world_size

    # Which weights train, and how training goes.

    def _choose_parameters(self) -> ExitStack:
        """RMU trains three matrices only, until the stack is closed."""
        stack, chosen = ExitStack(), self.term.trained_parameters()
        if chosen is not None:
            stack.enter_context(trained_alone(self.trainer.model, chosen.__contains__))
        return stack

    def _saliency_masks(self) -> dict[str, torch.Tensor]:
        """A saliency mask lets the rest of the gradients through only; of the model as it is now, also when training resumes later."""
        if self.saliency is None:
            return {}
        with self._choose_parameters():
            return self.term.saliency_masks(self.saliency)

    def _fit_batch_size(self) -> None:
        """Where `auto_find_batch_size` has found a smaller batch, the forget examples of a step shrink with it."""
        if not self.trainer.args.auto_find_batch_size:
            return
        args = self.trainer.args
        now = self.trainer._train_batch_size * args.gradient_accumulation_steps * args.world_size
        per_step = max(1, self._wanted_per_step * now // self._retain_rows_per_step)
        self.stream = replace(self.stream, per_step=per_step)

    def _fault(self, step: int) -> Exception | None:
        assert self._step is not None
        fault = self._step.fault({"forget_loss": self._name, "retain_loss": self.retain_term.name}, step)
        if fault is None and not self._gradients_seen:
            fault = missing_gradients(self.trainer, step)
            self._gradients_seen = fault is None
        return fault

    # Going on from a checkpoint.

    def state(self) -> dict[str, Any]:
        """What the Trainer saves with a checkpoint."""
        return {"args": {}, "attributes": {"retain_weight": self.retain_weight, **self._run.state()}}

    def _restore(self, state: TrainerState) -> None:
        """A resumed run goes on with the retain weight of its checkpoint, if it is the same run."""
        saved = saved_state(state.stateful_callbacks) if state.global_step else None
        if saved is None:
            return
        self._run.check(saved, self.trainer)
        if hasattr(self.objective, "next_retain_weight"):
            self.retain_weight = float(saved["retain_weight"])
        say_if_done(state)
