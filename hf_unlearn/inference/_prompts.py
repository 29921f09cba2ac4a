"""What a model is given to complete, and where it stops: token ids, room for an answer, end tokens."""

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn.inference._loading import ModelLike, saved_configs
from hf_unlearn.inference._models import context_length, rope_switch, vocabulary_size


Prompts: TypeAlias = Sequence[str] | Sequence[Sequence[int]]
"""What to complete: texts, tokenized as they stand, or token ids."""


def encode_prompts(
    prompts: Prompts, processing_class: PreTrainedTokenizerBase | None, *, name: str = "prompts"
) -> tuple[tuple[int, ...], ...]:
    """Token ids of the prompts.

    Args:
        prompts: Texts or token ids.
        processing_class: The tokenizer; needed for texts.
        name: What the caller calls them, for messages.

    Raises:
        TypeError: Not a list of texts or of whole numbers; a whole table, for example.
        ValueError: No prompts, texts without a tokenizer, or a prompt without tokens.
    """
    rows = given_rows(prompts, name)
    if any(isinstance(prompt, str) for prompt in rows):
        mixed = [index for index, prompt in enumerate(rows) if not isinstance(prompt, str)]
        if mixed:
            raise TypeError(
                f"{name} must be all texts or all token ids; {name}[{mixed[0]}] is {_shown(rows[mixed[0]])}."
            )
        if processing_class is None:
            raise ValueError(f"pass processing_class= (the tokenizer), or give {name} as token ids.")
        encoded = [processing_class(prompt)["input_ids"] for prompt in rows]
    else:
        encoded = [_whole_numbers(prompt, f"{name}[{index}]") for index, prompt in enumerate(rows)]
    empty = [index for index, prompt in enumerate(encoded) if not len(prompt)]
    if empty:
        raise ValueError(
            f"{len(empty)} {name} have no tokens (first: {name.removesuffix('s')} {empty[0]}); a model needs at least one."
        )
    return tuple(tuple(prompt) for prompt in encoded)


def given_rows(given: object, name: str) -> list[Any]:
    """What a caller passed as a list of texts, of token ids or of model inputs, as a list.

    Raises:
        TypeError: A table, of which a column is meant.
        ValueError: One text, nothing, or no list at all.
    """
    columns = getattr(given, "column_names", getattr(given, "columns", given if isinstance(given, Mapping) else None))
    if columns is not None:
        names = ", ".join(map(str, columns))
        raise TypeError(
            f"{name} must be a list of texts or of token ids, got a {type(given).__name__} with the columns {names}; pass one of them, "
            f"for example {name}=data[{str(next(iter(columns), 'question'))!r}]."
        )
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"{name} must be a non-empty list of texts or of token ids, got {_shown(given)}.")
    rows = given.tolist() if isinstance(given, (np.ndarray, torch.Tensor)) else list(given)
    if not rows:
        raise ValueError(f"{name} must be a non-empty list of texts or of token ids.")
    return rows


def check_token_ids(
    model: PreTrainedModel | PeftModel, rows: Sequence[Sequence[int]], *, name: str = "prompts"
) -> None:
    """Refuse ids that the model has no embedding for, which an accelerator would only end with a failed assertion.

    Raises:
        ValueError: Names row, id and range.
    """
    try:
        limit = model.get_input_embeddings().num_embeddings
    except (NotImplementedError, AttributeError):
        limit = vocabulary_size(model)
    for index, row in enumerate(rows):
        ids = np.asarray(row)
        wrong = ids[(ids < 0) | (ids >= limit)]
        if len(wrong):
            raise ValueError(
                f"{name}[{index}] has the token id {wrong[0]}, but {type(model).__name__} knows 0 to {limit - 1}: it was made with another "
                "tokenizer than the model's."
            )


def _whole_numbers(row: object, name: str) -> list[int]:
    values = row.tolist() if isinstance(row, (np.ndarray, torch.Tensor)) else row
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a text or a list of token ids, got {_shown(row)}.")
    values = list(values)
    wrong = [value for value in values if not isinstance(value, Integral) or isinstance(value, bool)]
    if wrong:
        raise TypeError(f"{name} must hold token ids, which are whole numbers; it holds {_shown(wrong[0])}.")
    return [int(value) for value in values]


def _shown(value: object) -> str:
    return f"{str(value)[:40]!r} ({type(value).__name__})"


def check_room(model: PreTrainedModel | PeftModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Refuse prompts whose completion would not fit into the model's context, or would cross a length where the model changes.

    Raises:
        ValueError: Names the prompt, its length and the limit; or a token id that the model does not know.
    """
    check_token_ids(model, prompts)
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
