"""Which weights train: those that the objective names, and of these perhaps only the salient ones."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from hf_unlearn.inference import undisturbed
from hf_unlearn.training._answer_outputs import answer_outputs
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._forget_data import ForgetData


@dataclass
class TrainedWeights:
    """The choice for one training.

    Attributes:
        names: Of the parameters that train, of those that would anyway; None: all of them.
        masks: By parameter, 1 where its gradient counts, else 0; none: all of it.
    """

    names: Collection[str] | None = None
    masks: dict[str, torch.Tensor] = field(default_factory=dict)

    @contextmanager
    def alone(self, model: torch.nn.Module) -> Iterator[None]:
        """Inside, only parameters of these names (of those that train now) get gradients."""
        frozen = [
            p
            for name, p in model.named_parameters()
            if p.requires_grad and self.names is not None and name not in self.names
        ]
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def mask_gradients(self, model: torch.nn.Module) -> None:
        """Let only the salient part of the gradients through."""
        if self.masks:
            for name, parameter in model.named_parameters():
                if name in self.masks and parameter.grad is not None:
                    parameter.grad.mul_(self.masks[name])


def trained_weights(
    compute: Compute, forget: ForgetData, names: Collection[str] | None, saliency: float | None
) -> TrainedWeights:
    """The choice, with the model as it is now.

    Args:
        compute: Whose model it is.
        forget: For whose answers weights are salient.
        names: See `TrainedWeights`.
        saliency: Share of the weights that trains; None: all.
    """
    chosen = TrainedWeights(names)
    if saliency is not None:
        with chosen.alone(compute.model):
            chosen.masks = _saliency_masks(compute, forget, saliency)
    return chosen


def _saliency_masks(compute: Compute, forget: ForgetData, share: float) -> dict[str, torch.Tensor]:
    """1 where the gradient of the forget answers' NLL is among the largest, else 0."""
    sums = _forget_gradients(compute, forget)
    sizes = torch.cat([value.abs().flatten() for value in sums.values()])
    kept = max(1, round(share * sizes.numel()))
    threshold = sizes.kthvalue(sizes.numel() - kept + 1).values
    return {name: (value.abs() >= threshold).to(value.dtype) for name, value in sums.items()}


def _forget_gradients(compute: Compute, forget: ForgetData) -> dict[str, torch.Tensor]:
    trained = {name: p for name, p in compute.model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p) for name, p in trained.items()}
    with undisturbed(compute.model), torch.enable_grad():
        for batch in forget.batches(compute.eval_batch_size):
            batch = compute.on_device(batch)
            labels = batch.pop("labels")
            log_probs = answer_outputs(compute.model(**batch).logits, labels, forget.is_classification).log_probs
            gradients = torch.autograd.grad(log_probs.sum(), list(trained.values()), allow_unused=True)
            for name, gradient in zip(trained, gradients, strict=True):
                if gradient is not None:
                    sums[name] += gradient
    return sums
