"""The counterfactual distance by enumeration: every completion of two models, each on a prompt of its own, in plain torch.

Knows measurement.md's definition and nothing of the library, so that its numbers are an opinion of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Moments:
    """Of the sum of exact step divergences along one sampled completion: its mean (nats per sequence) and its variance."""

    mean: float
    variance: float

    def __add__(self, other: "Moments") -> "Moments":
        """Of two independent sums."""
        return Moments(self.mean + other.mean, self.variance + other.variance)


@torch.no_grad()
def _next(model: torch.nn.Module, prompt: list[int], prefixes: torch.Tensor) -> torch.Tensor:
    ids = torch.cat([torch.tensor(prompt).expand(len(prefixes), -1), prefixes], dim=1)
    return model(input_ids=ids).logits[:, -1].double().log_softmax(-1)


def one_way(
    p: torch.nn.Module, p_prompt: list[int], q: torch.nn.Module, q_prompt: list[int], *, eos: int, max_new_tokens: int
) -> Moments:
    """KL(p(.|p_prompt) || q(.|q_prompt)) of completions that end with `eos` or after `max_new_tokens`, with the sampling variance."""
    prefixes, reached, summed = torch.zeros(1, 0, dtype=torch.long), torch.ones(1).double(), torch.zeros(1).double()
    ends, sums = [], []
    for step in range(max_new_tokens):
        mine, other = _next(p, p_prompt, prefixes), _next(q, q_prompt, prefixes)
        summed = summed + (mine.exp() * (mine - other)).sum(-1)
        vocabulary = mine.shape[-1]
        reached = (reached[:, None] * mine.exp()).flatten()
        summed = summed.repeat_interleave(vocabulary)
        tokens = torch.arange(vocabulary).repeat(len(prefixes))
        prefixes = torch.cat([prefixes.repeat_interleave(vocabulary, 0), tokens[:, None]], dim=1)
        over = (tokens == eos) | (step == max_new_tokens - 1)
        ends.append(reached[over])
        sums.append(summed[over])
        prefixes, reached, summed = prefixes[~over], reached[~over], summed[~over]
    weight, value = torch.cat(ends), torch.cat(sums)
    mean = (weight * value).sum()
    return Moments(float(mean), float((weight * (value - mean) ** 2).sum()))


def distance(
    models: tuple[torch.nn.Module, torch.nn.Module],
    prompts: Sequence[tuple[list[int], list[int]]],
    *,
    eos: int,
    max_new_tokens: int,
) -> Moments:
    """Both ways, averaged over pairs of prompts with one completion of each model per pair: mean, and variance of that average."""
    settings = {"eos": eos, "max_new_tokens": max_new_tokens}
    total = Moments(0.0, 0.0)
    for first, second in prompts:
        total += one_way(models[0], first, models[1], second, **settings)
        total += one_way(models[1], second, models[0], first, **settings)
    return Moments(total.mean / len(prompts), total.variance / len(prompts) ** 2)
