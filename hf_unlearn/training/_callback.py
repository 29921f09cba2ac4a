"""Unlearning inside the Trainer that is already there.

The Trainer's own run on its own data is the retain term; the callback adds the forget term to each optimisation step. It works by standing
in for two bound methods while training runs, `compute_loss` and `log`, and takes its hands off afterwards.
"""

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
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
from transformers.trainer_callback import ExportableState

from hf_unlearn.data import DataLike
from hf_unlearn.inference import HiddenReader
from hf_unlearn.objectives import Objective, OriginalModel, RetainTerm, get_objective, get_retain_term
from hf_unlearn.training._forget_data import prepare_forget_data
from hf_unlearn.training._forget_stream import ForgetStream
from hf_unlearn.training._forget_term import ForgetTerm, kl_losses, trained_alone
from hf_unlearn.training._quiet import quiet
from hf_unlearn.training._vacuity import warn_if_unknown_in


logger = logging.getLogger(__name__)


@dataclass
class _Step:
    """One optimisation step in progress."""

    micro_batches: list[np.ndarray]
    normaliser: float
    next_micro_batch: int = 0


class UnlearningCallback(TrainerCallback, ExportableState):
    """Adds a forget term to a Trainer's training: each optimisation step minimises

    `retain_weight · (the Trainer's own loss, or another retain term) + forget_weight · forget term`.

    The mean of the forget term is over the forget examples (or their answer tokens) of the whole optimisation step, over all
    micro-batches and processes, so 8×1, 4×2, 2×4 and 1×8 accumulation and any number of processes give one trajectory. Which examples a step
    takes follows from the seed and the step's number, so a resumed run continues exactly. `forget_loss` and `retain_loss`, unweighted,
    appear in the logs beside `loss`.

    **The original** (for objectives and retain terms that need it) is the model as it is when the callback is made. So make the callback
    before training, also when you resume: the Trainer loads the checkpoint later. A warning says when it does not know the forget answers
    (another prompt format or tokenizer, data it has never seen): then there is nothing to forget, and nothing to measure.

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
            examples.
        seed: Of the order of forget examples; default: the Trainer's `data_seed`, or its `seed`.
        allow_overlap: Accept forget rows that are also in the retain set.
        saliency: Train only this share of the weights, those whose gradient of the forget loss is largest at the start (SalUn's mask);
            None: all.
        stop_on_collapse: End the training when the forget answers have become far less likely than guessing, which a warning says
            in any case.

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
        per_step = forget_batch_size or args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        order_seed = seed if seed is not None else args.data_seed if args.data_seed is not None else args.seed
        self.stream = ForgetStream(len(self.forget.examples), per_step, order_seed)
        self._place_model()
        self.prior_knowledge = warn_if_unknown_in(trainer, self.forget)
        self._kept: OriginalModel | None = None
        self.term = ForgetTerm(trainer, self.objective, self.forget, self._keep_original, seed=order_seed)
        self._original = self._keep_original() if self.retain_term.needs_original and retain_weight else None
        self._original_reader: HiddenReader | None = None
        self._retain_layer: int | None = None
        self._check_retain_layer()
        if saliency is not None and not 0 < saliency <= 1:
            raise ValueError(f"saliency must be above 0 and at most 1, got {saliency}.")
        self.saliency, self.stop_on_collapse = saliency, stop_on_collapse
        self._masks: dict[str, torch.Tensor] = {}
        self._unfrozen: ExitStack | None = None
        self._warned = False
        self._answer_sum, self._answer_count = torch.zeros(()), 0
        self._gradients_seen = False
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
        self._restore(state)
        self._choose_parameters()
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
        self._step = _Step(micro_batches, self.term.normaliser(self.stream.step(state.global_step)))
        self._sums, self._answer_sum, self._answer_count = {}, torch.zeros(()), 0

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
        self._check_gradients(state)
        for name, parameter in self.trainer.model.named_parameters():
            if name in self._masks and parameter.grad is not None:
                parameter.grad.mul_(self._masks[name])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the retain weight where the objective asks for it, and look whether the answers have collapsed."""
        following = getattr(self.objective, "next_retain_weight", None)
        if following is not None and "retain_loss" in self._sums:
            shared = self.trainer.accelerator.reduce(self._sums["retain_loss"], reduction="mean")
            self.retain_weight = float(following(self.retain_weight, float(shared)))
        if self._collapsed():
            if not self._warned:
                logger.warning(
                    "step %d: the forget answers are far less likely than guessing; %s is destroying the model rather than making "
                    "it forget. Use fewer steps, a smaller learning rate or forget weight, or a bounded objective such as npo.",
                    state.global_step,
                    self.objective.name,
                )
            self._warned = True
            if self.stop_on_collapse:
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
        self._found, self._step, self._masks = {}, None, {}
        if self._unfrozen is not None:
            self._unfrozen.close()
            self._unfrozen = None

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
        with quiet(self.trainer.model):
            outputs, losses = self._against_original(model, plain, inputs["labels"], return_outputs)
        if not losses.numel():  # rows without a labelled token ask for nothing
            loss = losses.sum()
        elif (
            num_items_in_batch is None
        ):  # the Trainer counts nothing: a mean per micro-batch, as its own loss would be
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
        losses, answers = self.term.losses(model, indices)
        if answers is not None and weight:
            self._answer_sum, self._answer_count = (
                self._answer_sum + answers.sum().cpu().float(),
                self._answer_count + answers.numel(),
            )
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

    def _against_original(
        self, model: torch.nn.Module, inputs: dict[str, Any], labels: torch.Tensor, whole: bool
    ) -> tuple[Any, torch.Tensor]:
        """The model's outputs (None where hidden states were enough) and the retain term's losses."""
        assert self._original is not None
        layer = self._retain_layer
        if layer is None:
            outputs = model(**inputs)
            with self.trainer.accelerator.autocast():
                original = self._original.logits(inputs)
            if self.forget.is_classification:
                return outputs, kl_losses(outputs.logits, original)
            return outputs, self.retain_term(outputs.logits, original, labels)
        outputs = model(**inputs) if whole else None  # somebody wants them, so the pass may not stop at the layer
        hidden = self.term.hidden(model, inputs, layer)
        with self._original.asked() as asked, self.trainer.accelerator.autocast():
            original = self._original_hidden(asked, inputs, layer)
        return outputs, self.retain_term(hidden, original, labels)

    def _original_hidden(self, asked: torch.nn.Module, inputs: dict[str, Any], layer: int) -> torch.Tensor:
        if asked is self.trainer.model:
            return self.term.hidden(asked, inputs, layer)
        if self._original_reader is None:
            # Not on these inputs: a packed batch holds more than tensors.
            self._original_reader = HiddenReader(asked, self._probe())
        return self.term.hidden(asked, inputs, layer, self._original_reader)

    def _check_retain_layer(self) -> None:
        if not hasattr(self.retain_term, "layer"):
            return
        if self.forget.is_classification:
            raise ValueError("retain term 'hidden' is for language models; the model is a classifier.")
        if self.term.reader is None:
            self.term.open_layers()
        assert self.term.reader is not None
        layer = self.retain_term.layer or self.term.layer
        if not 1 <= layer <= self.term.reader.depth:
            raise ValueError(
                f"retain term 'hidden' cannot use layer {layer}: the model has layers 1 to {self.term.reader.depth}."
            )
        self._retain_layer = int(layer)

    def _keep_original(self) -> OriginalModel:
        if self._kept is None:
            with self.trainer.accelerator.autocast():
                self._kept = OriginalModel(self.trainer.model, self._probe())
        return self._kept

    def _probe(self) -> dict[str, torch.Tensor]:
        """What the model takes, of one forget example."""
        batch = self.forget.batch([0])
        return {name: value.to(self.trainer.model.device) for name, value in batch.items() if name != "labels"}

    # Which weights train, and how training goes.

    def _choose_parameters(self) -> None:
        """RMU trains three matrices; a saliency mask lets the rest of the gradients through only."""
        chosen = self.term.trained_parameters()
        self._unfrozen = ExitStack()
        if chosen is not None:
            self._unfrozen.enter_context(trained_alone(self.trainer.model, chosen.__contains__))
        if self.saliency is not None:
            self._masks = self.term.saliency_masks(self.saliency)

    def _check_gradients(self, state: TrainerState) -> None:
        """A training that reaches no weight would look like one that runs."""
        if self._gradients_seen or self.trainer.is_deepspeed_enabled or self.trainer.is_fsdp_enabled:
            return  # those keep gradients elsewhere
        self._gradients_seen = any(p.grad is not None for p in self.trainer.model.parameters() if p.requires_grad)
        if not self._gradients_seen:
            raise RuntimeError(
                f"no gradient reached any trainable weight at step {state.global_step + 1}. Causes seen: a bitsandbytes base on the CPU, "
                "whose weights are packed for inference by the first evaluation; reentrant checkpointing without "
                "enable_input_require_grads()."
            )

    def _collapsed(self) -> bool:
        """Mean log-probability of the step's answer tokens below twice that of guessing."""
        if not self._answer_count:
            return False
        guess = -math.log(self.term.num_outputs())
        return float(self._answer_sum) / self._answer_count < 2 * guess

    def state(self) -> dict[str, Any]:
        """What the Trainer saves with a checkpoint."""
        return {"args": {}, "attributes": {"retain_weight": self.retain_weight}}

    def _restore(self, state: TrainerState) -> None:
        """A resumed run goes on with the retain weight that the checkpoint has."""
        saved = state.stateful_callbacks.get(type(self).__name__) if state.global_step else None
        saved = saved[0] if isinstance(saved, list) else saved
        if saved and hasattr(self.objective, "next_retain_weight"):
            self.retain_weight = float(saved["attributes"]["retain_weight"])

    def _place_model(self) -> None:
        """Where training will need the model anyway; the Trainer may not have moved it yet."""
        if self.trainer.place_model_on_device and self.trainer.model.device != self.trainer.args.device:
            self.trainer.model.to(self.trainer.args.device)
