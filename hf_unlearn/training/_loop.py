"""Unlearning in a training loop of one's own, with Accelerate and without a Trainer."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.config import ForgetConfig
from hf_unlearn.data import DataLike
from hf_unlearn.inference import LoadedModel
from hf_unlearn.objectives import Objective, RetainTerm
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._forget_data import text_forget_data
from hf_unlearn.training._run_checks import check_trainable
from hf_unlearn.training._unlearning_loss import UnlearningLoss
from hf_unlearn.training._vacuity import warn_if_unknown_in


class UnlearningLoop:
    """The forget term for a loop that you write yourself; the same steps as `UnlearningCallback` takes in a Trainer.

    Make it before `accelerator.prepare`, with the model that must forget: the original is that model as it is now. In the loop its `backward`
    takes the place of the accelerator's:

    ```python
    accelerator = Accelerator(gradient_accumulation_steps=2)
    unlearning = UnlearningLoop(model, accelerator, forget_dataset=forget, processing_class=tokenizer, forget_batch_size=8)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for batch in loader:
        with accelerator.accumulate(model):
            unlearning.backward(model, unlearning.retain_loss(model, batch))
            optimizer.step()
            optimizer.zero_grad()
    unlearning.close()
    ```

    Objectives that train some of the weights only (RMU) freeze the others until `close`. `accelerator.register_for_checkpointing(unlearning)`
    lets an interrupted loop go on with the same examples.

    Args:
        model: A causal language model, with an adapter or without, not wrapped yet.
        accelerator: Of the loop; a step ends where it synchronises gradients.
        forget_dataset: What must go, as in `UnlearningCallback`.
        objective: As there.
        retain_term: As there; "nll" is the model's own loss, or whatever loss you hand to `backward`.
        forget_weight: As there.
        retain_weight: As there.
        processing_class: The tokenizer; None: the rows are tokenized.
        prompt_template: As in `UnlearningCallback`.
        forget_batch_size: Forget rows per optimisation step, all processes and micro-batches together.
        seed: Of their order.
        saliency: As in `UnlearningCallback`.
        eval_batch_size: Rows at a time where the original is asked before training.
        retain_dataset: What your loop trains on, for objectives that look at retained answers (`counterfactual`); tokenized, or text.

    Attributes:
        step: Optimisation steps done.
        loss: What is minimised.
        prior_knowledge: Whether the model knows the forget answers at all; a warning says when not.
        collapsed: Whether the forget answers of the last step were far less likely than guessing, which a warning says, too.

    Raises:
        ValueError: As `UnlearningCallback`; nothing is checked against your retain data, which must not hold forget rows.
    """

    def __init__(
        self,
        model: LoadedModel,
        accelerator: Accelerator,
        *,
        forget_dataset: DataLike,
        objective: str | Objective = "npo",
        retain_term: str | RetainTerm | None = None,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        processing_class: PreTrainedTokenizerBase | None = None,
        prompt_template: str | None = None,
        forget_batch_size: int,
        seed: int = 0,
        saliency: float | None = None,
        eval_batch_size: int = 8,
        retain_dataset: Dataset | None = None,
    ):
        config = ForgetConfig(
            objective=objective,
            retain_term=retain_term,
            forget_weight=forget_weight,
            retain_weight=retain_weight,
            prompt_template=prompt_template,
            forget_batch_size=forget_batch_size,
            saliency=saliency,
        )
        check_trainable(model)
        forget = text_forget_data(model, forget_dataset, processing_class, prompt_template=prompt_template)
        compute = Compute(model, accelerator, eval_batch_size)
        if accelerator.device_placement and not accelerator.verify_device_map(model):
            model.to(accelerator.device)
        self.loss = UnlearningLoss(
            compute, forget, config, forget_batch_size=forget_batch_size, seed=seed, train_dataset=retain_dataset
        )
        self.prior_knowledge = warn_if_unknown_in(compute, forget)
        self.step, self.collapsed = 0, False
        self._alone = self.loss.trained.alone(model)
        self._alone.__enter__()

    def retain_loss(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor | None:
        """The retain term of one micro-batch, with gradient: the model's own loss, or what compares with the original, token mean.

        Args:
            model: As `prepare` gave it.
            batch: Inputs with `labels`.

        Returns:
            A scalar; None where the retain weight is 0, without a forward pass.
        """
        if not self.loss.retain_weight:
            return None
        if self.loss.retain.original is None:
            return model(**batch).loss
        losses, _ = self.loss.retain.losses(model, dict(batch))
        return losses.mean() if losses.numel() else losses.sum()

    def backward(self, model: torch.nn.Module, retain_loss: torch.Tensor | None) -> torch.Tensor:
        """Add the forget term and go backward, in place of `accelerator.backward`; to be called once per micro-batch.

        Args:
            model: As `prepare` gave it.
            retain_loss: Mean over the micro-batch; None: none.

        Returns:
            The weighted sum, detached.

        Raises:
            FloatingPointError: A loss of this step is not a number; said before the optimizer steps.
            RuntimeError: No gradient reached any weight.
        """
        accelerator = self.loss.compute.accelerator
        parts = accelerator.gradient_accumulation_steps
        if not self.loss.in_step:
            self.loss.begin(self.step, parts)
        forget = self.loss.forget_share(model, last=accelerator.sync_gradients)
        total = self.loss.total(model, retain_loss, forget, scale=parts)
        accelerator.backward(total)
        if accelerator.sync_gradients:
            self._end_step()
        return total.detach()

    def logged(self) -> dict[str, float]:
        """`forget_loss` and `retain_loss`, unweighted, as means over the steps since this was last asked and over processes."""
        return self.loss.logged()

    def close(self) -> None:
        """Let all weights train again that trained before."""
        self._alone.__exit__(None, None, None)

    def state_dict(self) -> dict[str, Any]:
        """For `accelerator.register_for_checkpointing`."""
        return {"step": self.step, **self.loss.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, with the same options and the same model before unlearning."""
        self.loss.load_state_dict(state)
        self.step = int(state["step"])

    def _end_step(self) -> None:
        self.loss.end()
        self.collapsed = self.loss.after_step()
        self.loss.leave()
        self.step += 1
