"""Sequences that begin with one prompt (eight completions, a true and five wrong answers): the prompt is read once for all of them.

Knows plain attention, whose keys and values can be computed once and repeated, and tries on each model whether that gives what reading the
sequences whole gives. Does not know what is computed from the states.
"""

import logging
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch

from hf_unlearn.inference._batching import Batch, batches, call_cost
from hf_unlearn.inference._consistency import tolerance
from hf_unlearn.inference._logits import LogitReader
from hf_unlearn.inference._memory import is_out_of_memory
from hf_unlearn.inference._models import base_model, rope_switch
from hf_unlearn.inference._prefix import left_padded, positions, prompt_cache, takes_dynamic_cache
from hf_unlearn.inference._views import View


logger = logging.getLogger(__name__)
PADDING = 1.2
"""How many tokens a batch may have, padding of prompts and of answers included, per token that is read."""
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
    """

    def __init__(self, reader: LogitReader, *, wanted: bool):
        self.reader = reader
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
        device = self.reader.model.device
        return self.reader.states(*(tensor.to(device) for tensor in (*batch.inputs.values(), *batch.answers[:2])))

    def _shared(self, batch: Batch, prompts: Sequence[Prompt]) -> torch.Tensor:
        device, rows = self.reader.model.device, batch.answers[0]
        different = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        of_prompt = torch.tensor([different[prompt] for prompt in prompts], device=device)
        input_ids, mask = left_padded([*different], device=device)
        # What follows: from the prompt's last token, which predicts the answer's first, to the end.
        starts = torch.tensor([len(prompt) - 1 for prompt in prompts])
        longest = int((batch.attention_mask.sum(1) - starts).max())
        columns = (starts[:, None] + torch.arange(longest)).clamp_max(batch.input_ids.shape[1] - 1)
        inside = starts[:, None] + torch.arange(longest) < batch.attention_mask.sum(1, keepdim=True)
        rest = batch.input_ids.gather(1, columns) * inside
        whole_mask = torch.cat([mask[of_prompt, :-1], inside.long().to(device)], 1)
        assert self.reader.body is not None
        with self.reader.view.active():
            cache = prompt_cache(self.reader.model, self.reader.body, input_ids, mask)
            for layer in cache.layers:
                layer.batch_select_indices(of_prompt)
            states = self.reader.body(
                input_ids=rest.to(device),
                attention_mask=whole_mask,
                position_ids=positions(whole_mask)[:, -longest:],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
        return states[rows.to(device), (batch.answers[1] - starts[rows]).to(device)]

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
    shared = _by_prompt(lengths, prompts, batch_size)
    trial = 2 * 3 * max(lengths)
    call = call_cost(views)
    work = trial + sum(_work(batch, lengths, prompts)[1] + 2 * call for batch in shared)
    if work < WORTH_IT * sum(len(batch) * lengths[batch[0]] + call for batch in plain):
        return shared, True
    return plain, False


def _by_prompt(lengths: Sequence[int], prompts: Sequence[Prompt], batch_size: int) -> list[list[int]]:
    """Neighbours in length of prompt, then of one prompt, then in length; the longest prompts first."""
    plan: list[list[int]] = []
    for index in sorted(
        range(len(lengths)), key=lambda index: (-len(prompts[index]), prompts[index], -lengths[index])
    ):
        grown = [*plan[-1], index] if plan else [index]
        needed, padded = _work(grown, lengths, prompts)
        if plan and len(grown) <= batch_size and padded <= PADDING * needed:
            plan[-1] = grown
        else:
            plan.append([index])
    return plan


def _work(batch: Sequence[int], lengths: Sequence[int], prompts: Sequence[Prompt]) -> tuple[int, int]:
    """Tokens of a batch that shares prompts, without and with padding."""
    different = [len(prompt) - 1 for prompt in {prompts[row] for row in batch}]
    rest = [lengths[row] - len(prompts[row]) + 1 for row in batch]
    return sum(different) + sum(rest), len(different) * max(different) + len(rest) * max(rest)


def _prompts(batch: Batch) -> list[Prompt]:
    """What each sequence begins with, up to its answer's first token."""
    starts = np.asarray(batch.is_answer).argmax(1)
    return [tuple(ids[:start]) for ids, start in zip(batch.input_ids.tolist(), starts, strict=True)]
