"""Sequences that begin with one prompt (eight completions, a true and five wrong answers): the prompt is read once for all of them.

Knows plain attention, whose keys and values can be computed once and repeated, and tries on each model whether that gives what reading the
sequences whole gives. Does not know what is computed from the states.
"""

import copy
import logging
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch

from hf_unlearn.inference._batching import PADDING, Batch, batches, call_cost
from hf_unlearn.inference._consistency import tolerance
from hf_unlearn.inference._logits import LogitReader
from hf_unlearn.inference._memory import is_out_of_memory
from hf_unlearn.inference._models import base_model, rope_switch
from hf_unlearn.inference._prefix import left_padded, positions, prompt_cache, select_rows, takes_dynamic_cache
from hf_unlearn.inference._views import View


logger = logging.getLogger(__name__)
GROUP = 2
"""How many times as many sequences as go through a model at once have their prompts read together: what follows the prompts is then read in
parts, neighbours in length."""
WORTH_IT = 0.9
"""Of the work of reading everything whole."""
Prompt = tuple[int, ...]
_WORKS: WeakKeyDictionary[View, bool] = WeakKeyDictionary()
"""Models on which it was tried: once for all that is read of them."""


class PromptSharer:
    """Reads one model's states at answer positions, each prompt of a batch once where that is known to be right.

    Args:
        reader: Of the model.
        wanted: Whether batches are planned for it (`plan_reading`).
        batch_size: Sequences at a time.
    """

    def __init__(self, reader: LogitReader, *, wanted: bool, batch_size: int = 64):
        self.reader, self.batch_size = reader, batch_size
        self._works = _WORKS.get(reader.view) if wanted else False

    def states(self, batch: Batch) -> torch.Tensor:
        """What the output layer receives where answers are predicted, shape `(answer tokens, width)`."""
        prompts = _prompts(batch)
        if self._works is False or len({*prompts}) == len(prompts) or min(map(len, prompts)) < 2:
            return self._whole(batch)
        if self._works is None:
            self._works = _WORKS[self.reader.view] = self._agrees(batch, prompts)
            if not self._works:
                logger.info(
                    "%s does not share prompts; each is read with every answer.", type(self.reader.model).__name__
                )
                return self._whole(batch)
        return self._shared(batch, prompts)

    def _whole(self, batch: Batch) -> torch.Tensor:
        """Sequences as they are, no more of them at once than were asked for."""
        device, found = self.reader.device, []
        for start in range(0, len(batch), self.batch_size):
            rows = slice(start, start + self.batch_size)
            longest = int(batch.attention_mask[rows].sum(1).max())
            part = Batch(*(of[rows, :longest] for of in (batch.input_ids, batch.attention_mask, batch.labels)))
            inputs = (*part.inputs.values(), *part.answers[:2])
            found.append(self.reader.states(*(tensor.to(device) for tensor in inputs)))
        return torch.cat(found)

    def _shared(self, batch: Batch, prompts: Sequence[Prompt]) -> torch.Tensor:
        device, rows = self.reader.device, batch.answers[0]
        different = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        of_prompt = torch.tensor([different[prompt] for prompt in prompts], device=device)
        input_ids, mask = left_padded([*different], device=device)
        # What follows: from the prompt's last token, which predicts the answer's first, to the end.
        starts = torch.tensor([len(prompt) - 1 for prompt in prompts])
        follows = batch.attention_mask.sum(1) - starts
        assert self.reader.body is not None
        with self.reader.view.active():
            cache = prompt_cache(self.reader.model, self.reader.body, input_ids, mask)
            places, found = [], []
            for part in batches(follows.tolist(), self.batch_size, [self.reader.view]):
                chosen, own = torch.tensor(part), copy.deepcopy(cache)
                select_rows(own, of_prompt[chosen])
                columns = torch.arange(int(follows[chosen].max()))
                inside = columns < follows[chosen, None]
                rest = batch.input_ids[chosen].gather(
                    1, (starts[chosen, None] + columns).clamp_max(batch.input_ids.shape[1] - 1)
                )
                whole_mask = torch.cat([mask[of_prompt[chosen], :-1], inside.long().to(device)], 1)
                states = self.reader.body(
                    input_ids=(rest * inside).to(device),
                    attention_mask=whole_mask,
                    position_ids=positions(whole_mask)[:, -len(columns) :],
                    past_key_values=own,
                    use_cache=True,
                ).last_hidden_state
                here = torch.isin(rows, chosen).nonzero()[:, 0]
                local = torch.empty(len(batch), dtype=torch.int64).scatter_(0, chosen, torch.arange(len(part)))
                own_rows, own_columns = local[rows[here]], batch.answers[1][here] - starts[rows[here]]
                places.append(here)
                found.append(states[own_rows.to(states.device), own_columns.to(states.device)])
        return torch.cat(found)[torch.cat(places).argsort().to(found[0].device)]

    def _agrees(self, batch: Batch, prompts: Sequence[Prompt]) -> bool:
        """Whether two sequences of one prompt, and one of a prompt of other length beside them, give the same states either way."""
        first = max(prompts, key=prompts.count)
        chosen = [row for row, prompt in enumerate(prompts) if prompt == first][:2]
        chosen += [row for row, prompt in enumerate(prompts) if len(prompt) != len(first)][:1]
        part = Batch(batch.input_ids[chosen], batch.attention_mask[chosen], batch.labels[chosen])
        whole = self._whole(part)
        if self.reader.body is None:
            return False
        try:
            shared = self._shared(part, [prompts[row] for row in chosen])
        except (TypeError, AttributeError, ValueError, RuntimeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            logger.debug("%s does not go on from a cache: %s", type(self.reader.model).__name__, error)
            return False
        distance = (shared - whole).float().norm(dim=-1) / whole.float().norm(dim=-1).clamp_min(1e-6)
        return bool((distance <= tolerance(self.reader.model) / 4).all())  # false where a number is none


def can_share(view: View) -> bool:
    """Whether the model may be asked to share prompts; it is tried before it is trusted."""
    return rope_switch(view.model) is None and takes_dynamic_cache(base_model(view.model))


def plan_reading(
    lengths: Sequence[int], prompts: Sequence[Prompt], batch_size: int, views: Sequence[View]
) -> tuple[list[list[int]], bool]:
    """Which sequences are read together: neighbours in length, or, where that is clearly less work, those that share a prompt.

    Args:
        lengths: Of the sequences.
        prompts: What they begin with, up to the answer.
        batch_size: Sequences at a time.
        views: Models that read them.

    Returns:
        Batches, and whether to share prompts in them.
    """
    plain = batches(lengths, batch_size, views)
    if len({*prompts}) == len(prompts) or not all(can_share(view) for view in views):
        return plain, False
    shared = _by_prompt(prompts, lengths, batch_size)
    trial = 2 * 3 * max(lengths)
    call = call_cost(views)
    work = trial + sum(_work(batch, lengths, prompts, batch_size, views) for batch in shared)
    if work < WORTH_IT * sum(len(batch) * lengths[batch[0]] + call for batch in plain):
        return shared, True
    return plain, False


def _by_prompt(prompts: Sequence[Prompt], lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Neighbours in length of prompt, then of one prompt; the longest prompts first."""
    plan: list[list[int]] = []
    different: set[Prompt] = set()
    for index in sorted(range(len(prompts)), key=lambda at: (-len(prompts[at]), prompts[at], -lengths[at])):
        grown = different | {prompts[index]}
        padded = len(grown) * max(map(len, grown))
        fits = len(grown) <= batch_size and padded <= PADDING * sum(map(len, grown))
        if plan and len(plan[-1]) < GROUP * batch_size and fits:
            plan[-1].append(index)
            different = grown
        else:
            plan.append([index])
            different = {prompts[index]}
    return plan


def _work(
    batch: Sequence[int], lengths: Sequence[int], prompts: Sequence[Prompt], batch_size: int, views: Sequence[View]
) -> float:
    """Tokens of a batch that shares prompts, padding included, and what its passes cost by themselves."""
    different = [len(prompt) - 1 for prompt in {prompts[row] for row in batch}]
    follows = [lengths[row] - len(prompts[row]) + 1 for row in batch]
    parts = batches(follows, batch_size, views)
    tokens = len(different) * max(different) + sum(len(part) * follows[part[0]] for part in parts)
    return tokens + (1 + len(parts)) * call_cost(views)


def _prompts(batch: Batch) -> list[Prompt]:
    """What each sequence begins with, up to its answer's first token."""
    starts = np.asarray(batch.is_answer).argmax(1)
    return [tuple(ids[:start]) for ids, start in zip(batch.input_ids.tolist(), starts, strict=True)]
