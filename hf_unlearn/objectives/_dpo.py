"""Preference optimisation towards alternative answers: given, refusals, or made by the original."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from hf_unlearn.objectives._base import ForgetBatch
from hf_unlearn.objectives._lifecycle import ObjectiveBase


def dpo_loss(
    log_probs: torch.Tensor,
    original_log_probs: torch.Tensor,
    alternative_log_probs: torch.Tensor,
    original_alternative_log_probs: torch.Tensor,
    *,
    beta: float,
) -> torch.Tensor:
    """−(2/β) log σ(β (r_w − r_l)), r = log p_θ − log p_o of a whole answer, w the alternative, l the forget answer.

    The factor 2/β instead of DPO's 1 makes NPO the case without alternative, and β → 0 the difference of plain losses.

    Args:
        log_probs: Of the forget answers, shape `(batch,)`.
        original_log_probs: The same under the original.
        alternative_log_probs: Of the alternative answers.
        original_alternative_log_probs: The same under the original.
        beta: Above 0.

    Returns:
        Shape `(batch,)`: at least 0; (2/β) log 2 where the model is the original.

    Example:
        At r_w = r_l and β = 1: 2 log 2.

        >>> dpo_loss(*torch.zeros(4, 1), beta=1.0)
        tensor([1.3863])
    """
    margin = (alternative_log_probs - original_alternative_log_probs) - (log_probs - original_log_probs)
    return -(2 / beta) * F.logsigmoid(beta * margin)


def _loss(batch: ForgetBatch, beta: float) -> torch.Tensor:
    assert batch.original_log_probs is not None and batch.original_alternative_log_probs is not None
    return dpo_loss(
        batch.log_probs,
        batch.original_log_probs,
        batch.alternative_log_probs,
        batch.original_alternative_log_probs,
        beta=beta,
    )


_NEEDS = ("original_log_probs", "alternative", "original_alternative_log_probs")


@dataclass(frozen=True)
class DPO(ObjectiveBase):
    """Prefer the alternative answers of the column `alternative_answer` (Rafailov et al. 2023; as unlearning in TOFU).

    Attributes:
        beta: TOFU's 0.1.

    Raises:
        ValueError: `beta` is not positive.
    """

    beta: float = field(default=0.1, metadata={"above": 0})
    alternatives: str = field(default="column", init=False)
    name: str = field(default="dpo", init=False)
    reduction: str = field(default="example", init=False)
    needs: tuple[str, ...] = field(default=_NEEDS, init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per example, shape `(batch,)`."""
        return _loss(batch, self.beta)


@dataclass(frozen=True)
class IdkDPO(ObjectiveBase):
    """Prefer a refusal to each forget answer (TOFU's preference optimisation).

    Attributes:
        beta: TOFU's 0.1.

    Raises:
        ValueError: `beta` is not positive.
    """

    beta: float = field(default=0.1, metadata={"above": 0})
    alternatives: str = field(default="refusal", init=False)
    name: str = field(default="idk_dpo", init=False)
    reduction: str = field(default="example", init=False)
    needs: tuple[str, ...] = field(default=_NEEDS, init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per example, shape `(batch,)`."""
        return _loss(batch, self.beta)


@dataclass(frozen=True)
class AltPO(ObjectiveBase):
    """Prefer alternative answers in the style of the true ones (Mekala et al. 2024, arXiv 2409.13474).

    They are those of the column `alternative_answer` where it is there; otherwise the original answers each prompt itself, sampled with a
    seed. The authors ask a language model for plausible false answers with a prompt; a sample of the original is the nearest that
    works with any model; samples that are the true answer are passed over. A column is better.

    Attributes:
        beta: The authors use 0.05 to 0.5, with retain weights of 1 to 5, for 2 epochs.

    Raises:
        ValueError: `beta` is not positive.
    """

    beta: float = field(default=0.1, metadata={"above": 0})
    alternatives: str = field(default="generated", init=False)
    name: str = field(default="altpo", init=False)
    reduction: str = field(default="example", init=False)
    needs: tuple[str, ...] = field(default=_NEEDS, init=False)

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per example, shape `(batch,)`."""
        return _loss(batch, self.beta)
