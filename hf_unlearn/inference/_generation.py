"""How a model generates when nothing of its settings is left, and the proof on one step that it gives what it computes.

Does not know what is drawn or how.
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel

from hf_unlearn.inference._consistency import tolerance
from hf_unlearn.inference._models import base_model, generation_holders
from hf_unlearn.inference._placement import input_device


def neutralise(model: PreTrainedModel | PeftModel, max_new_tokens: int, stops: Sequence[int]) -> None:
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


def guard(model: PreTrainedModel | PeftModel, prompt: Sequence[int]) -> torch.Tensor:
    """One step with the settings set aside: what is sampled from must be what the model gave.

    Returns:
        Its logits, shape `(1, vocabulary)`.

    Raises:
        RuntimeError: It is not; says what changed it as far as can be known.
        ValueError: The model gives NaN.
    """
    step = _one_step(model, prompt)
    if step.logits[0].isnan().any():
        raise ValueError(f"{type(base_model(model)).__name__} gives NaN logits; its weights are broken.")
    if torch.equal(step.scores[0], step.logits[0].to(step.scores[0].dtype)):
        return step.logits[0]
    owner = type(base_model(model))
    overridden = [name for name in ("_get_logits_processor", "generate", "_sample") if name in _overridden(owner)]
    changed = int((step.scores[0] != step.logits[0]).sum())
    raise RuntimeError(
        f"{owner.__name__} changes {changed} of {step.logits[0].shape[-1]} logits while generating, although every setting of "
        f"its generation_config is set aside; the cause is {' and '.join(overridden) or 'a logits processor of its own'} in "
        f"{owner.__module__}. Samples would not come from the model's distribution, so nothing is sampled."
    )


def pads_well(model: PreTrainedModel | PeftModel, prompt: Sequence[int], alone: torch.Tensor) -> bool:
    """Whether the model answers behind padding as it does alone; old models and soft prompts count their positions otherwise."""
    padded = _one_step(model, prompt, padding=3).logits[0]
    size = max(1.0, float(alone.abs().max()))
    return bool((padded - alone).abs().max() <= tolerance(model) / 4 * size)


def _one_step(model: PreTrainedModel | PeftModel, prompt: Sequence[int], *, padding: int = 0) -> Any:
    ids = torch.tensor([[*[0] * padding, *prompt]], device=input_device(model))
    attention_mask = torch.ones_like(ids)
    attention_mask[:, :padding] = 0
    return base_model(model).generate(
        input_ids=ids,
        attention_mask=attention_mask,
        max_new_tokens=1,
        output_scores=True,
        output_logits=True,
        return_dict_in_generate=True,
    )


def _overridden(owner: type) -> set[str]:
    own = [vars(cls) for cls in owner.__mro__ if not cls.__module__.startswith("transformers.")]
    return {name for namespace in own for name in namespace}
