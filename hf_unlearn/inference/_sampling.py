"""Completions drawn from a model as it is: true ancestral sampling, whatever its generation settings say.

Tempered or truncated sampling would make every divergence that is estimated from the samples a different quantity, silently.
So all settings are set aside, a guard proves on one step that nothing has touched the distribution, and each token keeps the
log-probability that it was drawn with, so that scoring can compare.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn.functional import gumbel_draw
from hf_unlearn.inference._completions import Completions
from hf_unlearn.inference._generation import guard, neutralise, pads_well
from hf_unlearn.inference._models import base_model, rope_switch, undisturbed
from hf_unlearn.inference._prefix import left_padded, shared_prefix_cache
from hf_unlearn.inference._prompts import Prompts, check_room, default_stop_token_ids, encode_prompts
from hf_unlearn.inference._sharding import gather, my_share
from hf_unlearn.inference._views import Viewable, open_view


@dataclass(frozen=True)
class _Group:
    """Rows that are generated together: some prompts of similar length, the same range of samples for each."""

    prompts: list[int]
    samples: range


def sample_completions(
    model: Viewable,
    prompts: Prompts,
    *,
    processing_class: PreTrainedTokenizerBase | None = None,
    num_samples: int = 8,
    max_new_tokens: int = 128,
    seed: int = 0,
    stop_token_ids: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: bool = True,
    label: str = "sampling",
) -> Completions:
    """Sample completions from p(·|prompt): temperature 1, the whole vocabulary, no penalties, no suppressed tokens.

    Sample number s of a prompt depends on the model, the prompt's tokens and `seed`; not on `batch_size`, the other prompts,
    their order, `num_samples` or the number of processes (up to ties in floating point). The same seed gives two models the
    same noise, so that models that agree produce the same samples. The work on a prompt is done once for all its samples.

    Args:
        model: Loaded model, path or Hub id, or a model in its role. Its mode, random state and `generation_config` stay as they were.
        prompts: Texts (the tokenizer adds what it adds to any text, such as a start token) or token ids.
        processing_class: The tokenizer; needed for texts, and for the end token where the model names none.
        num_samples: Completions per prompt.
        max_new_tokens: Where a completion is cut; such a completion is marked as truncated.
        seed: Of the noise.
        stop_token_ids: Tokens that end a completion; default: what model and tokenizer name as end tokens. Two models can
            only be compared under the same ones.
        batch_size: Rows at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What the bar says.

    Returns:
        `num_samples` completions per prompt, in the order of the prompts, on every process.

    Raises:
        ValueError: No prompts, an empty prompt, a prompt that leaves no room in the model's context, or counts below 1.
        RuntimeError: The model changes its distribution while generating in a way that cannot be set aside.
    """
    for name, value in {
        "num_samples": num_samples,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
    }.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    prompt_ids = encode_prompts(prompts, processing_class)
    view = open_view(model)
    model = view.model
    check_room(model, prompt_ids, max_new_tokens)
    stops = tuple(stop_token_ids) if stop_token_ids is not None else default_stop_token_ids(model, processing_class)
    keys = _noise_keys(prompt_ids)
    with undisturbed(model), view.active():
        neutralise(model, max_new_tokens, stops)
        shortest = min(prompt_ids, key=len)
        step = guard(model, shortest)
        groups = _plan(
            prompt_ids, num_samples, batch_size, pads=pads_well(model, shortest, step), switch=rope_switch(model)
        )
        blocks = [
            _generate(model, prompt_ids, group, keys=keys, num_samples=num_samples, seed=seed, stops=stops)
            for group in my_share(groups, label=label, progress=progress)
        ]
    return _collect(gather(blocks), prompt_ids, num_samples, stops)


class _GumbelChoice(LogitsProcessor):
    """Leaves exactly one token possible at each step: the one that ancestral sampling draws. Remembers it and its log-probability."""

    def __init__(self, rows: list[int], seed: int, prompt_length: int):
        self.rows, self.seed, self.prompt_length = rows, seed, prompt_length
        self.chosen: list[torch.Tensor] = []
        self.log_probs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        position = input_ids.shape[1] - self.prompt_length
        chosen, log_probs = gumbel_draw(scores, seed=self.seed, rows=self.rows, position=position)
        self.chosen.append(chosen[:, None])
        self.log_probs.append(log_probs[:, None].float())
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


def _plan(
    prompts: Sequence[Sequence[int]],
    num_samples: int,
    batch_size: int,
    *,
    pads: bool = True,
    switch: int | None = None,
) -> list[_Group]:
    """Groups of neighbours in length, longest first, so that padding is rare and too large a batch fails at once.

    Args:
        prompts: Token ids.
        num_samples: Per prompt.
        batch_size: Rows at a time.
        pads: Whether the model answers alike behind padding; otherwise only prompts of one length come together.
        switch: Prompts on the two sides of this length do not come together.
    """

    def kind(index: int) -> tuple[int, bool]:
        length = len(prompts[index])
        return 0 if pads else length, switch is not None and length > switch

    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    together = max(1, batch_size // num_samples)
    sample_blocks = [range(at, min(at + batch_size, num_samples)) for at in range(0, num_samples, batch_size)]
    alike = [list(members) for _, members in itertools.groupby(order, key=kind)]
    return [
        _Group(members[at : at + together], samples)
        for members in alike
        for at in range(0, len(members), together)
        for samples in sample_blocks
    ]


def _noise_keys(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Where each prompt's noise begins: by its content, so that order and neighbours do not matter.

    A prompt that occurs twice gets other noise the second time: its samples must be independent.
    """
    seen: Counter[Sequence[int]] = Counter()
    keys = []
    for prompt in prompts:
        content = f"{seen[prompt]}:{','.join(map(str, prompt))}".encode()
        keys.append(int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big"))
        seen[prompt] += 1
    return keys


def _generate(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    group: _Group,
    *,
    keys: Sequence[int],
    num_samples: int,
    seed: int,
    stops: Sequence[int],
) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    """Row numbers, generated ids (not yet cut at the end token) and their log-probabilities of one group."""
    input_ids, attention_mask = left_padded([prompts[index] for index in group.prompts], device=model.device)
    rows = [index * num_samples + sample for index in group.prompts for sample in group.samples]
    noise_rows = [(keys[index] + sample) % 2**64 for index in group.prompts for sample in group.samples]
    inner = base_model(model)
    cache = shared_prefix_cache(inner, input_ids, attention_mask, repeats=len(group.samples))
    input_ids = input_ids.repeat_interleave(len(group.samples), 0)
    choice = _GumbelChoice(noise_rows, seed, input_ids.shape[1])
    output = inner.generate(
        input_ids=input_ids,
        attention_mask=attention_mask.repeat_interleave(len(group.samples), 0),
        logits_processor=[choice],
        **({} if cache is None else {"past_key_values": cache}),
    )
    token_ids = output[:, input_ids.shape[1] :].cpu()
    _check_followed(type(inner), choice, token_ids, stops)
    return rows, token_ids, torch.cat(choice.log_probs, 1).cpu()


def _check_followed(owner: type, choice: _GumbelChoice, token_ids: torch.Tensor, stops: Sequence[int]) -> None:
    """Refuse a model that went its own way when it was told which token comes next.

    Raises:
        RuntimeError: Names it and the step.
    """
    steps = min(len(choice.chosen), token_ids.shape[1])
    chosen = torch.cat(choice.chosen[:steps], 1).cpu() if steps else token_ids[:, :0]
    differs = ((chosen != token_ids[:, :steps]) & _until_stop(token_ids, stops)[:, :steps]).any(0)
    if len(choice.chosen) == token_ids.shape[1] and not differs.any():
        return
    first = int(differs.long().argmax()) if differs.any() else steps
    raise RuntimeError(
        f"{owner.__name__} does not follow the logits processor that draws the tokens: step {first} of its completions was chosen otherwise. "
        f"Its own generation (in {owner.__module__}) goes around it, so its samples would not come from its distribution."
    )


def _until_stop(token_ids: torch.Tensor, stops: Sequence[int]) -> torch.Tensor:
    """Which tokens have no end token before them; bool, of the same shape."""
    is_stop = torch.isin(token_ids, torch.tensor(stops, dtype=torch.int64))
    return is_stop.cumsum(1) - is_stop.long() == 0


def _collect(
    blocks: list[tuple[list[int], torch.Tensor, torch.Tensor]],
    prompts: tuple[tuple[int, ...], ...],
    num_samples: int,
    stops: Sequence[int],
) -> Completions:
    longest = max(block.shape[1] for _, block, _ in blocks)
    token_ids = torch.zeros(len(prompts) * num_samples, longest, dtype=torch.int64)
    log_probs = torch.zeros(token_ids.shape)
    filled = torch.zeros_like(token_ids, dtype=torch.bool)
    for rows, block, values in blocks:
        token_ids[rows, : block.shape[1]] = block
        log_probs[rows, : block.shape[1]] = values
        filled[rows, : block.shape[1]] = True
    # What `generate` padded after an end token does not count.
    mask = filled & _until_stop(token_ids, stops)
    ended = (torch.isin(token_ids, torch.tensor(stops, dtype=torch.int64)) & mask).any(1)
    index = torch.arange(len(token_ids))
    return Completions(
        prompts=prompts,
        token_ids=token_ids.masked_fill(~mask, 0),
        mask=mask,
        prompt_index=index // num_samples,
        sample_index=index % num_samples,
        truncated=~ended,
        log_probs=log_probs.masked_fill(~mask, 0.0),
    )
