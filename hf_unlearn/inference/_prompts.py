"""What a model is given to complete, and where it stops: token ids, room for an answer, end tokens."""

import os
from collections.abc import Sequence
from typing import TypeAlias

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn.inference._loading import ModelLike, saved_configs
from hf_unlearn.inference._models import context_length, rope_switch


Prompts: TypeAlias = Sequence[str] | Sequence[Sequence[int]]
"""What to complete: texts, tokenized as they stand, or token ids."""


def encode_prompts(prompts: Prompts, processing_class: PreTrainedTokenizerBase | None) -> tuple[tuple[int, ...], ...]:
    """Token ids of the prompts.

    Raises:
        ValueError: No prompts, texts without a tokenizer, or a prompt without tokens.
    """
    if isinstance(prompts, str) or not len(prompts):
        raise ValueError("prompts must be a non-empty list of texts or of token ids.")
    if any(isinstance(prompt, str) for prompt in prompts):
        if processing_class is None:
            raise ValueError("pass processing_class= (the tokenizer), or give prompts as token ids.")
        encoded = [processing_class(prompt)["input_ids"] for prompt in prompts]
    else:
        encoded = [list(map(int, prompt)) for prompt in prompts]
    empty = [index for index, prompt in enumerate(encoded) if not len(prompt)]
    if empty:
        raise ValueError(
            f"{len(empty)} prompts have no tokens (first: prompt {empty[0]}); a model needs at least one."
        )
    return tuple(tuple(prompt) for prompt in encoded)


def check_room(model: PreTrainedModel | PeftModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Refuse prompts whose completion would not fit into the model's context, or would cross a length where the model changes.

    Raises:
        ValueError: Names the prompt, its length and the limit.
    """
    switch = rope_switch(model)
    for index, prompt in enumerate(prompts):
        if switch is not None and len(prompt) - 1 <= switch < len(prompt) + max_new_tokens - 1:
            raise ValueError(
                f"prompt {index} has {len(prompt)} tokens; with max_new_tokens={max_new_tokens} its completion crosses the {switch} tokens at "
                f"which {type(model).__name__} turns all positions otherwise (longrope), where what it has cached is no longer what it "
                "computes. Shorten the prompt or lower max_new_tokens."
            )
    limit = context_length(model)
    if limit is None:
        return
    longest = max(range(len(prompts)), key=lambda index: len(prompts[index]))
    if len(prompts[longest]) + max_new_tokens > limit:
        raise ValueError(
            f"prompt {longest} has {len(prompts[longest])} tokens; with max_new_tokens={max_new_tokens} that exceeds the "
            f"model's context of {limit} tokens. Shorten the prompt or lower max_new_tokens."
        )


def default_stop_token_ids(
    model: ModelLike, processing_class: PreTrainedTokenizerBase | None = None
) -> tuple[int, ...]:
    """All tokens that the model's settings or the tokenizer name as end of a completion, ascending.

    Args:
        model: Loaded, or a path or id, of which only the configuration is read.
        processing_class: The tokenizer.
    """
    if isinstance(model, (str, os.PathLike)):
        holders = [*saved_configs(model), processing_class]
    else:
        holders = [model.config.get_text_config(), getattr(model, "generation_config", None), processing_class]
    stops: set[int] = set()
    for holder in holders:
        value = getattr(holder, "eos_token_id", None)
        stops.update([] if value is None else [value] if isinstance(value, int) else value)
    return tuple(sorted(stops))
