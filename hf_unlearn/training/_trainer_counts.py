"""By what a Trainer divides losses, so that what is added to them is divided alike."""

import torch
from transformers import Trainer


def micro_batch_scale(trainer: Trainer, num_items_in_batch: torch.Tensor | int | None) -> int:
    """By what the Trainer will divide the loss: 1, or the accumulation steps; the rule is `Trainer.training_step`'s."""
    scaled = getattr(trainer, "loss_is_scaled_for_ga", None)
    if scaled is None:
        counted = trainer.model_accepts_loss_kwargs and num_items_in_batch is not None
        scaled = counted or trainer.compute_loss_func is not None
    return 1 if scaled else trainer.current_gradient_accumulation_steps


def retain_loss(trainer: Trainer, losses: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor:
    """A retain term's losses of one micro-batch made one, as the Trainer treats its own loss.

    Args:
        trainer: Whose loss it becomes.
        losses: Per labelled token, shape `(labelled tokens,)`.
        num_items_in_batch: Labelled tokens of the whole step; None: the Trainer counts nothing, its loss is a mean per micro-batch.
    """
    if not losses.numel():  # rows without a labelled token ask for nothing
        return losses.sum()
    if num_items_in_batch is None:
        return losses.mean()
    # Over all labelled tokens of the step, undoing the mean over processes.
    shared = trainer.args.world_size if trainer.args.average_tokens_across_devices else 1
    return losses.sum() / num_items_in_batch * shared
