"""Distillation from what the original says about somebody it has never seen."""

from dataclasses import dataclass, field, fields

import torch

from hf_unlearn._arguments import real_number, whole_number
from hf_unlearn.objectives._base import ForgetBatch, SoftLabels
from hf_unlearn.objectives._lifecycle import ObjectiveBase, StandInOptions


def soft_label_divergence(logits: torch.Tensor, labels: SoftLabels) -> torch.Tensor:
    """KL(label ‖ model), where all tokens that a label does not name are one class.

    Args:
        logits: Of the current model, shape `(tokens, vocabulary)`.
        labels: Of the same tokens.

    Returns:
        Nats per token, shape `(tokens,)`, at least 0; at most the divergence of the whole distributions, from which it differs only in how
        the rest is divided.

    Example:
        A vocabulary of three, the label ½ on one token, the rest (½) on the others; the model is uniform, so ⅓ and ⅔:
        ½ log(3/2) + ½ log(3/4).

        >>> labels = SoftLabels(torch.tensor([[0]]), torch.tensor([[0.5]]))
        >>> soft_label_divergence(torch.zeros(1, 3), labels)
        tensor([0.0589])
    """
    log_probs = logits.float().log_softmax(-1)
    named = log_probs.gather(1, labels.ids)
    rest = (1 - labels.probabilities.sum(-1)).clamp(min=0)
    others = log_probs.scatter(1, labels.ids, float("-inf")).logsumexp(-1)
    # Where nothing is left, or nothing but rounding, there is no other class: minus infinity would be no number times 0.
    has_rest = (rest > SoftLabels.ROUNDING) & torch.isfinite(others)
    of_rest = torch.xlogy(rest, rest) - rest * torch.where(has_rest, others, torch.zeros_like(others))
    of_named = (torch.xlogy(labels.probabilities, labels.probabilities) - labels.probabilities * named).sum(-1)
    return of_named + torch.where(has_rest, of_rest, torch.zeros_like(of_rest))


def scaled_state_distance(
    states: torch.Tensor, stand_in: torch.Tensor, variance: torch.Tensor, named: torch.Tensor
) -> torch.Tensor:
    """Mean over layers and width of (h − h')², in units of the variance of h' over answer tokens.

    Args:
        states: Of the current model, shape `(tokens, layers, width)`.
        stand_in: Of the original at counterfactual questions, same shape.
        variance: Mean over the width, shape `(layers,)`.
        named: 1 where there is such a state, else 0; shape `(tokens,)`.

    Returns:
        Shape `(tokens,)`; about 2 for states of other tokens, 0 for the same.

    Example:
        One layer of width 2, distances 1 and 3, variance 5: (1 + 9) / 2 / 5.

        >>> scaled_state_distance(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 3.0]]]), torch.tensor([5.0]), torch.ones(1))
        tensor([1.])
    """
    distance = (states.float() - stand_in.float()).pow(2).mean(-1) / variance
    return distance.mean(-1) * named


@dataclass(frozen=True)
class Counterfactual(ObjectiveBase):
    """The model learns to say about the subject what the original says about substitutes that nobody has seen.

    KL(p_o(·|c(s'), y_<t) ‖ p_θ(·|c(s), y_<t)) on answers y that the original gives to counterfactual questions c(s'), and on the true answer; plus
    `hidden_weight` · ‖h_θ − h_o(c(s'))‖²/variance on the true answer's tokens, in all blocks. Mean over tokens of each answer, then over examples.
    The teacher goes back to Eldan & Russinovich (arXiv 2310.02238) and, with several names, to Liu et al. (arXiv 2407.16997); the hidden part and
    the cleansing are this library's own. It assumes that subjects are exchangeable: that to a model which never saw the subject it would be
    like any other of its kind.

    **The teacher leaks**: to an unseen name the original answers partly with the facts that are to be forgotten. `cleansing` takes the forget answers'
    share out of its distributions, see `functional.Continuations`.

    The forget rows need a column `counterfactual_question` (several texts per row), or questions that name their subject, see
    `data.counterfactual_questions`. Rows without are left out and get no forget term.

    Attributes:
        num_counterfactuals: Substitutes per row, at least 2; the original answers about each once.
        names_per_answer: Over how many of them the label of a token is a mean.
        answer_weight: Of the tokens of the true answer beside the original's; 0 leaves them out.
        hidden_weight: Of the hidden states; 0 leaves them out.
        cleansing: Whether the forget answers' share is taken out of the labels; needs the retained answers.
        cleansing_context: How many tokens back a share looks; 0: to the beginning of the answer.
        pseudo_count: α of a share: the smaller, the less is left of what only forget answers say.
        top_k: So many tokens of a label are kept, the rest as one class.
        cache_gib: Most memory for labels and states computed before training; where it is not enough, they are computed in each step.
        max_left_out: Most of the rows that may be left out, as a share.
    """

    num_counterfactuals: int = 16
    names_per_answer: int = 8
    answer_weight: float = 1.0
    hidden_weight: float = 1.0
    cleansing: bool = True
    cleansing_context: int = 0
    pseudo_count: float = field(default=0.1, metadata={"above": 0})
    top_k: int = 64
    cache_gib: float = field(default=2.0, metadata={"searched": False})
    max_left_out: float = field(default=0.5, metadata={"searched": False})
    name: str = field(default="counterfactual", init=False)
    reduction: str = field(default="example", init=False)
    needs: tuple[str, ...] = field(default=("logits", "counterfactual", "counterfactual_states"), init=False)
    retain_term: str = field(default="kl", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, minimum in (
            ("num_counterfactuals", 2),
            ("names_per_answer", 1),
            ("cleansing_context", 0),
            ("top_k", 1),
        ):
            whole_number(name, getattr(self, name), minimum=minimum)
        for name in ("answer_weight", "hidden_weight", "cache_gib"):
            real_number(name, getattr(self, name), minimum=0.0)
        if not 0 <= self.max_left_out < 1:
            raise ValueError(f"max_left_out must be at least 0 and below 1, got {self.max_left_out}.")
        if not self.hidden_weight:
            object.__setattr__(self, "needs", ("logits", "counterfactual"))

    def stand_in(self) -> StandInOptions:
        """As the options say."""
        return StandInOptions(**{each.name: getattr(self, each.name) for each in fields(StandInOptions)})

    def __call__(self, batch: ForgetBatch) -> torch.Tensor:
        """One loss per example, shape `(batch,)`; 0 for rows that have no counterfactual question."""
        found = batch.counterfactual
        assert found is not None
        per_token = soft_label_divergence(found.logits, found.labels)
        weights = torch.where(found.is_true_answer, self.answer_weight, 1.0) * found.weights
        losses = torch.zeros(len(batch.answer_mask), device=per_token.device)
        losses = losses.index_add(0, found.rows, per_token * weights)
        if self.hidden_weight:
            assert found.states is not None
            distance = scaled_state_distance(
                found.states.current, found.states.stand_in, found.states.variance, found.states.weights
            )
            losses = losses.index_add(0, found.states.rows, self.hidden_weight * distance)
        return losses
