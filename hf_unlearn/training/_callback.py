"""Unlearning inside the Trainer that is already there.

The Trainer's own run on its own data is the retain term; the callback adds the forget term to each optimisation step. It works by standing
in for two bound methods while training runs, `compute_loss` and `log`, and takes its hands off afterwards. What is computed is
`UnlearningLoss`; here is only how a Trainer comes to it.
"""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any

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

from hf_unlearn.config import ForgetConfig, documented
from hf_unlearn.data import DataLike
from hf_unlearn.objectives import Objective, RetainTerm
from hf_unlearn.training._checkpoint_weights import whole_checkpoints
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._forget_data import place_model, prepare_forget_data
from hf_unlearn.training._resume import (
    Run,
    last_whole_checkpoint,
    run_settings,
    saved_state,
    say_if_done,
    starting_weights,
)
from hf_unlearn.training._run_checks import check_trainable
from hf_unlearn.training._trainer_counts import micro_batch_scale, retain_loss
from hf_unlearn.training._unlearning_loss import UnlearningLoss
from hf_unlearn.training._vacuity import warn_if_unknown_in


logger = logging.getLogger(__name__)


@documented(ForgetConfig)
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
        processing_class: The tokenizer; default: the Trainer's.
        seed: Of the order of forget examples; default: the Trainer's `data_seed`, or its `seed`.
        {ForgetConfig}

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
        config = ForgetConfig.of(locals())
        check_trainable(trainer.model)
        self.trainer = trainer
        args = trainer.args
        self.forget = prepare_forget_data(
            trainer,
            forget_dataset,
            processing_class=processing_class,
            allow_overlap=config.allow_overlap,
            prompt_template=config.prompt_template,
        )
        self._retain_rows_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self._wanted_per_step = config.forget_batch_size or self._retain_rows_per_step
        order_seed = seed if seed is not None else args.data_seed if args.data_seed is not None else args.seed
        if config.saliency is not None and args.weight_decay:
            logger.warning(
                "weight_decay=%s moves the weights that saliency=%s leaves out, too; set it to 0.",
                args.weight_decay,
                config.saliency,
            )
        place_model(trainer)
        self.loss = UnlearningLoss(
            Compute(trainer.model, trainer.accelerator, args.per_device_eval_batch_size, not args.disable_tqdm),
            self.forget,
            config,
            forget_batch_size=self._wanted_per_step,
            seed=order_seed,
            train_dataset=trainer.train_dataset,
        )
        self.objective, self.retain_term = self.loss.objective, self.loss.retain_term
        self.forget_weight, self.stop_on_collapse = config.forget_weight, config.stop_on_collapse
        self.prior_knowledge = warn_if_unknown_in(self.loss.compute, self.forget, trainer.train_dataset)
        numbers = {
            "forget_weight": self.forget_weight,
            "retain_weight": self.retain_weight,
            "saliency": config.saliency,
        }
        numbers |= {"forget_batch_size": self._wanted_per_step, "seed": order_seed}
        numbers["retain_batch_size"] = self._retain_rows_per_step
        settings = run_settings(trainer, self.objective, self.retain_term, self.forget, **numbers)
        self._run = Run(settings, starting_weights(trainer.model), self.loss.compares)
        self._in_training = ExitStack()
        trainer.train = self._that_lets_go(trainer.train)

    @property
    def retain_weight(self) -> float:
        """Of the retain term, as it is now."""
        return self.loss.retain_weight

    # The Trainer's events.

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stand in for `compute_loss` and `log`.

        Raises:
            ValueError: The callback was made for another Trainer, or the checkpoint by another run.
        """
        trainer, loss = self.trainer, self.loss
        if state is not trainer.state:
            raise ValueError(
                "this UnlearningCallback was made for another Trainer and would do nothing in this one; make a new one with "
                "UnlearningCallback(trainer, …)."
            )
        self._release()  # of an attempt with a larger batch
        loss.restart(trainer.model, trainer.accelerator)
        self._fit_batch_size()
        self._restore(state)
        self._in_training.enter_context(loss.trained.alone(trainer.model))
        for name, stand_in in (("compute_loss", self._with_forget_term), ("log", self._with_parts)):
            self._in_training.callback(_put_back, trainer, name, vars(trainer).get(name))
            setattr(trainer, name, stand_in(getattr(trainer, name)))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give both methods back."""
        self._release()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Decide which forget examples the coming optimisation step takes."""
        self.loss.begin(state.global_step, self.trainer.current_gradient_accumulation_steps)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse to step, on all processes, where the loss of one is not a number or reaches no weight; the weights stay as they were."""
        self.loss.end()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the retain weight where the objective asks for it, and look whether the answers have collapsed."""
        if self.loss.after_step() and self.stop_on_collapse:
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
            if not self.loss.in_step or not (model.training and torch.is_grad_enabled()):
                return compute_loss(model, inputs, return_outputs, num_items_in_batch)
            retain, outputs = None, None
            if self.loss.retain_weight and self.loss.retain.original is None:
                found = compute_loss(model, inputs, return_outputs, num_items_in_batch)
                retain, outputs = found if return_outputs else (found, None)
            elif self.loss.retain_weight:
                losses, outputs = self.loss.retain.losses(model, inputs, whole=return_outputs)
                retain = retain_loss(self.trainer, losses, num_items_in_batch)
            forget = self.loss.forget_share(model)
            total = self.loss.total(model, retain, forget, micro_batch_scale(self.trainer, num_items_in_batch))
            return (total, outputs) if return_outputs else total

        return compute_loss_with_forget_term

    def _with_parts(self, log: Callable) -> Callable:
        def log_with_parts(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if "loss" in logs:
                logs |= self.loss.logged()
            log(logs, *args, **kwargs)

        return log_with_parts

    def _release(self) -> None:
        self._in_training.close()
        self.loss.leave()

    def _that_lets_go(self, train: Callable) -> Callable:
        """The Trainer's `train`, after which, however it ends, the Trainer and the model are as they were found."""

        @wraps(train)
        def train_and_let_go(resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
            if resume_from_checkpoint is True:
                resume_from_checkpoint = last_whole_checkpoint(self.trainer.args.output_dir) or True
            checkpoint = None
            if isinstance(resume_from_checkpoint, (str, os.PathLike)):
                checkpoint = str(resume_from_checkpoint)
                self._run.check_checkpoint(checkpoint)
            try:
                with whole_checkpoints(self.trainer, checkpoint):
                    return train(resume_from_checkpoint, *args, **kwargs)
            finally:
                self._release()
                self.trainer.is_in_train = False  # the Trainer leaves it on when an exception ends the training

        return train_and_let_go

    def _fit_batch_size(self) -> None:
        """Where `auto_find_batch_size` has found a smaller batch, the forget examples of a step shrink with it."""
        if not self.trainer.args.auto_find_batch_size:
            return
        args = self.trainer.args
        now = self.trainer._train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.loss.shrink(max(1, self._wanted_per_step * now // self._retain_rows_per_step))

    # Going on from a checkpoint.

    def state(self) -> dict[str, Any]:
        """What the Trainer saves with a checkpoint."""
        return {"args": {}, "attributes": {**self.loss.state_dict(), **self._run.state()}}

    def _restore(self, state: TrainerState) -> None:
        """A resumed run goes on with the retain weight of its checkpoint, if it is the same run."""
        saved = saved_state(state.stateful_callbacks) if state.global_step else None
        if saved is not None:
            self._run.check(saved, self.trainer)
            self.loss.load_state_dict(saved)
            say_if_done(state)


def _put_back(trainer: Trainer, name: str, found: Callable | None) -> None:
    if found is None:
        vars(trainer).pop(name, None)  # it was the class's method
    else:
        setattr(trainer, name, found)
