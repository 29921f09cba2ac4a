"""Completions drawn from a model as it is: true ancestral sampling, whatever its generation settings say.

Tempered or truncated sampling would make every divergence that is estimated from the samples a different quantity, silently.
So all settings are set aside, and a guard proves on one step that nothing has touched the distribution.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn.functional import gumbel_sample
from hf_unlearn.inference._completions import Completions
from hf_unlearn.inference._loading import ModelLike, load_model
from hf_unlearn.inference._models import base_model, generation_holders, undisturbed
from hf_unlearn.inference._prefix import left_padded, shared_prefix_cache
from hf_unlearn.inference._prompts import Prompts, check_room, default_stop_token_ids, encode_prompts
from hf_unlearn.inference._sharding import gather, my_share


@dataclass(frozen=True)
class _Group:
    """Rows that are generated together: some prompts of similar length, the same range of samples for each."""

    prompts: list[int]
    samples: range


def sample_completions(
    model: ModelLike,
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
        model: Loaded model, path or Hub id. Its mode, random state and `generation_config` stay as they were.
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
    model = load_model(model)
    check_room(model, prompt_ids, max_new_tokens)
    stops = tuple(stop_token_ids) if stop_token_ids is not None else default_stop_token_ids(model, processing_class)
    groups, keys = _plan(prompt_ids, num_samples, batch_size), _noise_keys(prompt_ids)
    with undisturbed(model):
        _neutralise(model, max_new_tokens, stops)
        _guard(model, min(prompt_ids, key=len))
        blocks = [
            _generate(model, prompt_ids, group, keys=keys, num_samples=num_samples, seed=seed)
            for group in my_share(groups, label=label, progress=progress)
        ]
    return _collect(gather(blocks), prompt_ids, num_samples, stops)


class _GumbelChoice(LogitsProcessor):
    """Leaves exactly one token possible at each step: the one that ancestral sampling draws."""

    def __init__(self, rows: list[int], seed: int, prompt_length: int):
        self.rows, self.seed, self.prompt_length = rows, seed, prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        position = input_ids.shape[1] - self.prompt_length
        chosen = gumbel_sample(scores, seed=self.seed, rows=self.rows, position=position)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


def _plan(prompts: Sequence[Sequence[int]], num_samples: int, batch_size: int) -> list[_Group]:
    """Groups of neighbours in length, longest first, so that padding is rare and too large a batch fails at once."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    together = max(1, batch_size // num_samples)
    sample_blocks = [range(at, min(at + batch_size, num_samples)) for at in range(0, num_samples, batch_size)]
    return [
        _Group(order[at : at + together], samples)
        for at in range(0, len(order), together)
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


def _neutralise(model: PreTrainedModel | PeftModel, max_new_tokens: int, stops: Sequence[int]) -> None:
    """Set all generation settings aside; `undisturbed` brings them back.

    A fresh configuration passed to `generate` is not enough: `generate` fills its gaps from the model's own.
    """
    settings = GenerationConfig(
        do_sample=False,
        use_cache=True,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stops) or None,
        pad_token_id=0,
    )
    for holder in generation_holders(model):
        holder.generation_config = settings


def _guard(model: PreTrainedModel | PeftModel, prompt: Sequence[int]) -> None:
    """One step with the settings set aside: what is sampled from must be what the model gave.

    Raises:
        RuntimeError: It is not; says what changed it as far as can be known.
        ValueError: The model gives NaN.
    """
    ids = torch.tensor([prompt], device=model.device)
    step = base_model(model).generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=1,
        output_scores=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    if step.logits[0].isnan().any():
        raise ValueError(f"{type(base_model(model)).__name__} gives NaN logits; its weights are broken.")
    if torch.equal(step.scores[0], step.logits[0].to(step.scores[0].dtype)):
        return
    owner = type(base_model(model))
    overridden = [name for name in ("_get_logits_processor", "generate", "_sample") if name in _overridden(owner)]
    changed = int((step.scores[0] != step.logits[0]).sum())
    raise RuntimeError(
        f"{owner.__name__} changes {changed} of {step.logits[0].shape[-1]} logits while generating, although every setting of "
        f"its generation_config is set aside; the cause is {' and '.join(overridden) or 'a logits processor of its own'} in "
        f"{owner.__module__}. Samples would not come from the model's distribution, so nothing is sampled."
    )


def _overridden(owner: type) -> set[str]:
    own = [vars(cls) for cls in owner.__mro__ if not cls.__module__.startswith("transformers.")]
    return {name for namespace in own for name in namespace}


def _generate(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    group: _Group,
    *,
    keys: Sequence[int],
    num_samples: int,
    seed: int,
) -> tuple[list[int], torch.Tensor]:
    """Row numbers and generated ids (not yet cut at the end token) of one group."""
    input_ids, attention_mask = left_padded([prompts[index] for index in group.prompts], device=model.device)
    rows = [index * num_samples + sample for index in group.prompts for sample in group.samples]
    noise_rows = [(keys[index] + sample) % 2**64 for index in group.prompts for sample in group.samples]
    inner = base_model(model)
    cache = shared_prefix_cache(inner, input_ids, attention_mask, repeats=len(group.samples))
    input_ids = input_ids.repeat_interleave(len(group.samples), 0)
    output = inner.generate(
        input_ids=input_ids,
        attention_mask=attention_mask.repeat_interleave(len(group.samples), 0),
        logits_processor=[_GumbelChoice(noise_rows, seed, input_ids.shape[1])],
        **({} if cache is None else {"past_key_values": cache}),
    )
    return rows, output[:, input_ids.shape[1] :].cpu()


def _collect(
    blocks: list[tuple[list[int], torch.Tensor]],
    prompts: tuple[tuple[int, ...], ...],
    num_samples: int,
    stops: Sequence[int],
) -> Completions:
    longest = max(block.shape[1] for _, block in blocks)
    token_ids = torch.zeros(len(prompts) * num_samples, longest, dtype=torch.int64)
    filled = torch.zeros_like(token_ids, dtype=torch.bool)
    for rows, block in blocks:
        token_ids[rows, : block.shape[1]] = block
        filled[rows, : block.shape[1]] = True
    is_stop = torch.isin(token_ids, torch.tensor(stops, dtype=torch.int64)) & filled
    # A token counts if no end token stands before it; what `generate` padded after an end token does not.
    mask = filled & (is_stop.cumsum(1) - is_stop.long() == 0)
    ended = (is_stop & mask).any(1)
    index = torch.arange(len(token_ids))
    return Completions(
        prompts=prompts,
        token_ids=token_ids.masked_fill(~mask, 0),
        mask=mask,
        prompt_index=index // num_samples,
        sample_index=index % num_samples,
        truncated=~ended,
    )
