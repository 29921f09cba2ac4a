"""Unlearning inside the Trainer that is already there.

The Trainer's own run on its own data is the retain term; the callback adds the forget term to each optimisation step. It works by standing
in for two bound methods while training runs, `compute_loss` and `log`, and takes its hands off afterwards.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
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

from hf_unlearn.data import DataLike
from hf_unlearn.functional import answer_mask, sequence_log_probs, token_log_probs
from hf_unlearn.inference import score
from hf_unlearn.objectives import ForgetBatch, Objective, OriginalModel, RetainTerm, get_objective, get_retain_term
from hf_unlearn.training._forget_data import prepare_forget_data
from hf_unlearn.training._forget_stream import ForgetStream


logger = logging.getLogger(__name__)


@dataclass
class _Step:
    """One optimisation step in progress."""

    micro_batches: list[np.ndarray]
    normaliser: float
    next_micro_batch: int = 0


class UnlearningCallback(TrainerCallback):
    """Adds a forget term to a Trainer's training: each optimisation step minimises

    `retain_weight · (the Trainer's own loss, or another retain term) + forget_weight · forget term`.

    The mean of the forget term is over the forget examples (or their answer tokens) of the whole optimisation step, over all
    micro-batches and processes, so 8×1, 4×2, 2×4 and 1×8 accumulation and any number of processes give one trajectory. Which examples a step
    takes follows from the seed and the step's number, so a resumed run continues exactly. `forget_loss` and `retain_loss`, unweighted,
    appear in the logs beside `loss`.

    **The original** (for objectives and retain terms that need it) is the model as it is when the callback is made. So make the callback
    before training, also when you resume: the Trainer loads the checkpoint later.

    Args:
        trainer: A `transformers.Trainer` or a subclass such as TRL's `SFTTrainer`; its `train_dataset` is the retain set.
        forget_dataset: What must go: rows as `hf_unlearn.data.tokenize_examples` takes them, or a spec.
        objective: An objective, or its name in `hf_unlearn.OBJECTIVES`.
        retain_term: "nll" (the Trainer's own loss), "kl", or an object.
        forget_weight: Of the forget term; above 0.
        retain_weight: Of the retain term; 0 leaves it out, and its forward pass with it.
        processing_class: The tokenizer; default: the Trainer's.
        forget_batch_size: Forget examples per optimisation step, all processes and micro-batches together; default: as many as retain
            examples.
        seed: Of the order of forget examples; default: the Trainer's `data_seed`, or its `seed`.
        allow_overlap: Accept forget rows that are also in the retain set.

    Raises:
        ValueError: An unknown objective, weights out of range, a forget set that is empty, smaller than a step, overlaps with the
            retain set, or does not fit the model; all before the model runs.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        forget_dataset: DataLike,
        objective: str | Objective = "npo",
        retain_term: str | RetainTerm = "nll",
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        processing_class: PreTrainedTokenizerBase | None = None,
        forget_batch_size: int | None = None,
        seed: int | None = None,
        allow_overlap: bool = False,
    ):
        self.objective, self.retain_term = get_objective(objective), get_retain_term(retain_term)
        if not forget_weight > 0 or not retain_weight >= 0:
            raise ValueError(
                f"forget_weight must be above 0 and retain_weight at least 0; got {forget_weight} and {retain_weight}."
            )
        self.forget_weight, self.retain_weight = float(forget_weight), float(retain_weight)
        self.trainer = trainer
        args = trainer.args
        self.forget = prepare_forget_data(
            trainer, forget_dataset, processing_class=processing_class, allow_overlap=allow_overlap
        )
        per_step = forget_batch_size or args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        order_seed = seed if seed is not None else args.data_seed if args.data_seed is not None else args.seed
        self.stream = ForgetStream(len(self.forget.examples), per_step, order_seed)
        self._original_log_probs = self._score_original() if self.objective.needs_original else None
        self._original = self._keep_original() if self.retain_term.needs_original and retain_weight else None
        self._found: dict[str, Any] = {}
        self._step: _Step | None = None
        self._sums: dict[str, torch.Tensor] = {}
        self._window: dict[str, torch.Tensor] = {}
        self._window_steps = 0

    # The Trainer's events.

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stand in for `compute_loss` and `log`."""
        self._release()  # a run that failed half-way did not get to on_train_end
        self._window, self._sums, self._window_steps = {}, {}, 0
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
        whole = self.stream.step(state.global_step)
        by_token = self.objective.reduction == "token"
        self._step = _Step(
            micro_batches, float(self.forget.num_answer_tokens[whole].sum() if by_token else len(whole))
        )
        self._sums = {}

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse to step on a loss that is not a number; the weights stay as they were."""
        for part, value in self._sums.items():
            if not torch.isfinite(value):
                name = self.objective.name if part == "forget_loss" else self.retain_term.name
                raise FloatingPointError(
                    f"{part} ({name}) became {value.item()} at step {state.global_step + 1}; the weights are those of the step "
                    "before. Lower the learning rate or the forget weight, or use a bounded objective such as npo."
                )
            self._window[part] = self._window.get(part, torch.zeros_like(value)) + value
        self._window_steps += 1

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
            indices = self._step.micro_batches[self._step.next_micro_batch]
            self._step.next_micro_batch += 1
            scale = self._micro_batch_scale(num_items_in_batch)
            retained = self._retain_part(compute_loss, model, inputs, return_outputs, num_items_in_batch)
            retain, outputs = retained if return_outputs else (retained, None)
            forget = self._forget_part(model, indices)
            # The Trainer divides by the accumulation steps where a loss is a mean per micro-batch; ours never is.
            forget = None if forget is None else forget * scale
            parts = {"retain_loss": (self.retain_weight, retain), "forget_loss": (self.forget_weight, forget)}
            terms = []
            for part, (weight, value) in parts.items():
                if value is not None:
                    self._sums[part] = self._sums.get(part, 0.0) + value.detach().float() / scale
                    terms.append(weight * value)
            if not terms:  # no retain term, and no forget example in this micro-batch
                terms = [parameter.sum() * 0.0 for parameter in model.parameters() if parameter.requires_grad]
            total = torch.stack([term.to(terms[0].device) for term in terms]).sum()
            return (total, outputs) if return_outputs else total

        return compute_loss_with_forget_term

    def _with_parts(self, log: Callable) -> Callable:
        def log_with_parts(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if "loss" in logs and self._window_steps:
                for part, value in self._window.items():
                    mean = self.trainer.accelerator.reduce(value / self._window_steps, reduction="mean")
                    logs[part] = float(mean)
                self._window, self._window_steps = {}, 0
            log(logs, *args, **kwargs)

        return log_with_parts

    def _release(self) -> None:
        for name, found in self._found.items():
            if found is None:
                vars(self.trainer).pop(name, None)  # it was the class's method
            else:
                setattr(self.trainer, name, found)
        self._found, self._step = {}, None

    # The two parts of the loss.

    def _retain_part(
        self,
        compute_loss: Callable,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool,
        num_items_in_batch: Any,
    ) -> Any:
        """What `compute_loss` would give: the loss, with the outputs if they are asked for."""
        if not self.retain_weight:
            return (None, None) if return_outputs else None
        if self._original is None:
            return compute_loss(model, inputs, return_outputs, num_items_in_batch)
        plain = {name: value for name, value in inputs.items() if name != "labels"}
        outputs = model(**plain)
        with self.trainer.accelerator.autocast():
            original_logits = self._original.logits(plain)
        losses = self.retain_term(outputs.logits, original_logits, inputs["labels"])
        if num_items_in_batch is None:  # the Trainer counts nothing: a mean per micro-batch, as its own loss would be
            loss = losses.mean()
        else:
            # As the Trainer treats its own loss: over all labelled tokens of the step, undoing the mean over processes.
            shared = self.trainer.args.world_size if self.trainer.args.average_tokens_across_devices else 1
            loss = losses.sum() / num_items_in_batch * shared
        return (loss, outputs) if return_outputs else loss

    def _forget_part(self, model: torch.nn.Module, indices: np.ndarray) -> torch.Tensor | None:
        """This micro-batch's share of the step's mean; None if it has no examples."""
        assert self._step is not None
        weight = 1.0
        if not len(indices):
            if self.trainer.args.world_size == 1:
                return None
            # All processes must run the model equally often, or they wait for each other for ever.
            indices, weight = np.array([0]), 0.0
        batch = self.forget.batch(indices)
        batch = {name: value.to(self.trainer.args.device) for name, value in batch.items()}
        labels = batch.pop("labels")
        log_probs = token_log_probs(model(**batch).logits, labels)
        original = None
        if self._original_log_probs is not None:
            # In the precision of the sums they are compared with: at the start their difference is almost nothing.
            original = self._original_log_probs[indices].to(labels.device, sequence_log_probs(log_probs).dtype)
        losses = self.objective(ForgetBatch(log_probs, answer_mask(labels), original))
        # The gradients' mean over processes turns each process's share into a part of the whole sum only if scaled up first.
        return weight * losses.sum().float() / self._step.normaliser * self.trainer.args.world_size

    def _micro_batch_scale(self, num_items_in_batch: Any) -> int:
        """By what the Trainer will divide the loss: 1, or the accumulation steps; the rule is `Trainer.training_step`'s."""
        trainer = self.trainer
        scaled = getattr(trainer, "loss_is_scaled_for_ga", None)
        if scaled is None:
            counted = trainer.model_accepts_loss_kwargs and num_items_in_batch is not None
            scaled = counted or trainer.compute_loss_func is not None
        return 1 if scaled else trainer.current_gradient_accumulation_steps

    # What the original says.

    def _score_original(self) -> torch.Tensor:
        """log p of every forget answer under the model as it is now; float64, shape `(forget examples,)`."""
        logger.info("scoring %d forget examples under the original", len(self.forget.examples))
        self._place_model()
        with self.trainer.accelerator.autocast():
            rows = score(
                {"original": self.trainer.model},
                self.forget.examples,
                batch_size=self.trainer.args.per_device_eval_batch_size,
                progress=not self.trainer.args.disable_tqdm,
            )
        return torch.tensor(rows.column("log_prob"))

    def _keep_original(self) -> OriginalModel:
        self._place_model()
        batch = self.forget.batch([0])
        probe = {name: value.to(self.trainer.model.device) for name, value in batch.items() if name != "labels"}
        return OriginalModel(self.trainer.model, probe)

    def _place_model(self) -> None:
        """Where training will need the model anyway; the Trainer may not have moved it yet."""
        if self.trainer.place_model_on_device and self.trainer.model.device != self.trainer.args.device:
            self.trainer.model.to(self.trainer.args.device)
