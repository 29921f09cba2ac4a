"""What the original says, after counterfactual questions, of the tokens of one answer: soft labels, and hidden states.

Knows one answer at a time, as several substitutes' and as the subject's. Does not know rows, caches or steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from hf_unlearn.functional import Continuations
from hf_unlearn.objectives import SoftLabels


@dataclass(frozen=True)
class Told:
    """One answer, told of the subject and of substitutes.

    Attributes:
        ids: As the subject's, with its end.
        prompts: Of each substitute's question.
        answers: The answer as each substitute's.
        places: Of each substitute, where in its answer the next token of `ids` is to be said; −1: nowhere.
        swaps: Of each substitute, tokens that begin its name, and those that begin the subject's.
    """

    ids: list[int]
    prompts: list[list[int]]
    answers: list[list[int]]
    places: list[np.ndarray]
    swaps: list[dict[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Spoken:
    """What the original says of the tokens of one answer.

    Attributes:
        labels: One per token.
        outside: Probability of what a label does not name, shape `(tokens,)`.
        forget_share: Probability that was the forget answers', shape `(tokens,)`.
        states: Mean over substitutes, shape `(tokens, layers, width)`; None where they are not wanted.
        has_states: For which tokens there are any, bool.
    """

    labels: SoftLabels
    outside: torch.Tensor
    forget_share: torch.Tensor
    states: torch.Tensor | None
    has_states: torch.Tensor


Read = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], tuple[list[torch.Tensor], list[torch.Tensor]]]
"""Prompts and answers to each answer's log-probabilities, `(tokens, vocabulary)`, and states, `(tokens, layers, width)` or none."""


def spoken(told: Told, read: Read, cleansing: Continuations | None, top_k: int | None) -> Spoken:
    """Ask the original about each substitute and take the mean.

    The mean is of probabilities, each substitute counting the same whatever was said before. Tokens that only the subject's answer has (inside
    its name) are taught as they stand.

    Args:
        told: The answer.
        read: Asks the original.
        cleansing: Takes the forget answers' share out; None: nothing does.
        top_k: Tokens of a label; None: the whole vocabulary.
    """
    log_probs, states = read(told.prompts, told.answers)
    total = torch.zeros(len(told.ids), log_probs[0].shape[-1], device=log_probs[0].device)
    heard = torch.zeros(len(told.ids), device=total.device)
    mean = torch.zeros(len(told.ids), *states[0].shape[1:], device=total.device) if states else None
    for number, places in enumerate(told.places):
        ours = torch.from_numpy(np.flatnonzero(places >= 0)).to(total.device)
        theirs = torch.from_numpy(places[places >= 0]).to(total.device)
        probabilities = log_probs[number][theirs].exp()
        for begins, instead in (told.swaps[number] if told.swaps else {}).items():
            probabilities[:, instead] += probabilities[:, begins]
            probabilities[:, begins] = 0
        total[ours] += probabilities
        heard[ours] += 1
        if mean is not None:
            mean[ours] += states[number][theirs].float()
    unheard = heard == 0
    total[unheard, torch.tensor(told.ids, device=total.device)[unheard]] = 1
    total = total / total.sum(-1, keepdim=True)
    share = torch.zeros(len(told.ids))
    if cleansing is not None:
        share = torch.where(unheard.cpu(), 0.0, cleansing.forget_share(total, told.ids))
        total = torch.where(unheard[:, None], total, cleansing.cleansed(total, told.ids))
    best = total.topk(min(top_k or total.shape[-1], total.shape[-1]), dim=-1)
    labels = SoftLabels(best.indices, best.values)
    if mean is not None:
        mean = mean / heard.clamp(min=1)[(...,) + (None,) * (mean.dim() - 1)]
    return Spoken(labels, (1 - best.values.sum(-1)).clamp(min=0), share, mean, ~unheard)
