"""The work on a prompt, done once for everything that follows it."""

import inspect
from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel


def left_padded(
    sequences: Sequence[Sequence[int]], *, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of sequences that end together; masks from lengths, so that no real token is taken for padding.

    Returns:
        `(input_ids, attention_mask)`, int64, shape `(sequences, longest)`.

    Example:
        >>> left_padded([[5, 6], [7]])
        (tensor([[5, 6],
            [0, 7]]), tensor([[1, 1],
            [0, 1]]))
    """
    longest = max(map(len, sequences))
    input_ids = torch.zeros(len(sequences), longest, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for row, sequence in enumerate(sequences):
        input_ids[row, longest - len(sequence) :] = torch.tensor(sequence)
        attention_mask[row, longest - len(sequence) :] = 1
    return input_ids.to(device), attention_mask.to(device)


def positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Place of each token in its own sequence, from 0, whatever the padding; same shape as the mask."""
    return (attention_mask.cumsum(-1) - 1).clamp_min(0)


def shared_prefix_cache(
    model: PreTrainedModel | PeftModel, input_ids: torch.Tensor, attention_mask: torch.Tensor, *, repeats: int
) -> DynamicCache | None:
    """Keys and values of all prompt tokens but the last, each prompt's repeated for its samples.

    Args:
        model: Takes a `DynamicCache`, or else nothing is shared.
        input_ids: Left-padded prompts, shape `(prompts, longest)`.
        attention_mask: Of the same shape.
        repeats: Rows that continue each prompt.

    Returns:
        A cache for `prompts · repeats` rows, or None where there is nothing to share or the model cannot.
    """
    if input_ids.shape[1] < 2 or repeats < 2 or not takes_dynamic_cache(model):
        return None
    cache = prompt_cache(model, getattr(model, model.base_model_prefix), input_ids, attention_mask)
    cache.batch_repeat_interleave(repeats)
    return cache


def prompt_cache(
    model: PreTrainedModel | PeftModel, body: torch.nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> DynamicCache:
    """Keys and values of all prompt tokens but the last.

    Args:
        model: Whose configuration says what a cache is made of.
        body: What fills it.
        input_ids: Left-padded prompts, shape `(prompts, longest)`.
        attention_mask: Of the same shape.
    """
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    body(
        input_ids=input_ids[:, :-1],
        attention_mask=attention_mask[:, :-1],
        position_ids=positions(attention_mask)[:, :-1],
        past_key_values=cache,
        use_cache=True,
    )
    return cache


def takes_dynamic_cache(model: PreTrainedModel | PeftModel) -> bool:
    """Whether the prompt's keys and values can be computed once and repeated: plain attention only.

    Recurrent and hybrid models keep other states, which some of them do not let anyone repeat; they do without sharing.
    """
    if isinstance(model, PeftModel) or not hasattr(model, model.base_model_prefix):
        return False
    body = getattr(model, model.base_model_prefix)
    if body is model or getattr(model, "_is_stateful", False) or not model._supports_default_dynamic_cache():
        return False
    if not {"past_key_values", "position_ids"} <= set(inspect.signature(body.forward).parameters):
        return False
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    return all(type(layer).__name__ in ("DynamicLayer", "DynamicSlidingWindowLayer") for layer in cache.layers)


def select_rows(cache: DynamicCache, rows: torch.Tensor) -> None:
    """Keep some rows of a cache, or one several times; its layers may lie on several devices."""
    for layer in cache.layers:
        if layer.keys is not None:
            layer.batch_select_indices(rows.to(layer.keys.device))


def can_drop_rows(cache: DynamicCache) -> bool:
    """Whether rows can be taken out of a cache while a generation is under way: plain layers that keep everything."""
    return all(type(layer).__name__ == "DynamicLayer" for layer in cache.layers)
