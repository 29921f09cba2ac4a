"""Relabelling at random, in expectation."""

from dataclasses import dataclass, field

import torch

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def random_label_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with each of the wrong labels.

    Args:
        logits: Shape `(examples, classes)`.
        targets: The true classes, shape `(examples,)`.

    Returns:
        Shape `(examples,)`, at least log(classes − 1); least where all wrong labels are equally likely and the true one is not.

    Example:
        Three equal logits: −log ⅓ for either wrong label.

        >>> random_label_loss(torch.zeros(1, 3), torch.tensor([0]))
        tensor([1.0986])
    """
    log_probs = logits.float().log_softmax(-1)
    true = log_probs.gather(1, targets[:, None])[:, 0]
    return -(log_probs.sum(-1) - true) / (logits.shape[-1] - 1)


@dataclass(frozen=True)
class RandomLabel(ObjectiveBase):
    """Train on wrong labels (Golatkar et al. 2020); with the callback's saliency mask this is SalUn (arXiv 2310.12508).

    Others draw one wrong label per example; here the loss is the mean over all of them, which is what drawing anew each time
    gives on average, and depends on no random state.
    """

    name: str = field(default="random_label", init=False)
    reduction: str = field(default="token", init=False)
    needs: tuple[str, ...] = field(default=("logits",), init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per answer token (or example of a classifier), shape `(answer tokens,)`."""
        assert batch.logits is not None and batch.targets is not None
        return random_label_loss(batch.logits, batch.targets)
