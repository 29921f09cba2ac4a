"""Models that are open: how to look inside without leaving a trace, and when two of them cannot be compared.

Does not know how they are opened or what is measured.
"""

import contextlib
import inspect
import itertools
import os
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from peft import PeftModel, PeftType
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn.inference._loading import LoadedModel, ModelLike, saved_configs


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
    """The transformers model inside, with its adapters still at work.

    Some adapters work outside the inner model and keep their wrapper: prompt learning, adapters that begin at an invocation (aLoRA), and
    those that are mixed by a first pass (X-LoRA).

    Raises:
        ValueError: Something sits on the wrapper that is left out (a hook, a `forward` of its own), so that the model inside is not it.
    """
    if not isinstance(model, PeftModel):
        return model
    config = model.active_peft_config
    outside = config.is_prompt_learning or config.peft_type == PeftType.XLORA
    if outside or getattr(config, "alora_invocation_tokens", None):
        return model
    for wrapper in (model, model.base_model):
        _refuse_passing_over(wrapper)
    return model.get_base_model()


def _refuse_passing_over(wrapper: torch.nn.Module) -> None:
    """PEFT itself generates with the model inside, so what a wrapper adds would be in some of its answers only."""
    if wrapper._forward_hooks or wrapper._forward_pre_hooks:
        found = "a forward hook"
    elif not _runs_as_peft_made_it(wrapper):
        found = "a forward of its own"
    else:
        return
    raise ValueError(
        f"{type(wrapper).__name__} has {found}, which the model inside it does not have and which generation goes around. Put it on the "
        "model inside (model.get_base_model()), or take it off."
    )


def _runs_as_peft_made_it(wrapper: torch.nn.Module) -> bool:
    own = vars(wrapper).get("forward")
    if own is not None and not {"_original_forward", "_hf_hook"} & vars(wrapper).keys():
        return False
    # Accelerate's is around the class's own; it changes precision or devices and nothing else.
    innermost = inspect.unwrap(own) if own is not None else None
    if innermost is not None and getattr(innermost, "__func__", innermost) is not type(wrapper).forward:
        return False
    owner = next(cls for cls in type(wrapper).__mro__ if "forward" in vars(cls))
    return owner.__module__.split(".")[0] == "peft"


def vocabulary_size(model: ModelLike) -> int:
    """How many logits the model gives; of a path or id, what its configuration says."""
    if isinstance(model, (str, os.PathLike)):
        return int(saved_configs(model)[0].vocab_size)
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return int(weight.shape[0]) if weight is not None else int(model.config.get_text_config().vocab_size)


def context_length(model: PreTrainedModel | PeftModel) -> int | None:
    """How many tokens the model can be given at once; None where its configuration names no limit."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not length or length <= 0:
        return None
    soft = isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning
    return int(length) - (int(model.active_peft_config.num_virtual_tokens) if soft else 0)


def rope_switch(model: PreTrainedModel | PeftModel) -> int | None:
    """The length beyond which the model turns all its positions otherwise (longrope, as in Phi-3); None where it never does.

    It is the longest row of a batch that decides, so rows on both sides of it must not meet in one.
    """
    config = model.config.get_text_config()
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    found = [kind for kind in kinds if kind.get("rope_type") == "longrope"]
    lengths = [kind.get("original_max_position_embeddings") for kind in found]
    known = [int(length) for length in lengths if length]
    return min(known) if known else None


def shortest_context(models: Mapping[str, ModelLike]) -> int | None:
    """How many tokens all of them can see at once; None where none names a limit. Opens no weights."""
    limits = []
    for model in models.values():
        config = saved_configs(model)[0] if isinstance(model, (str, os.PathLike)) else model.config.get_text_config()
        limits.append(getattr(config, "max_position_embeddings", None) or 0)
    return min((int(limit) for limit in limits if limit > 0), default=None)


def check_comparable(
    models: Mapping[str, ModelLike], *, processing_class: PreTrainedTokenizerBase | None = None
) -> None:
    """Refuse models whose distributions are not over the same tokens; opens no weights.

    Args:
        models: By name.
        processing_class: The tokenizer, if its ids will be given to the models.

    Raises:
        ValueError: The vocabularies differ in size, or the tokenizer has ids that the models do not know.
        FileNotFoundError: A path or id that cannot be opened.
    """
    sizes = {name: vocabulary_size(model) for name, model in models.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"these models do not share a vocabulary (logits per token: {sizes}), so their distributions cannot be "
            "compared. Compare models fine-tuned from one base; if one had its embeddings resized, resize the others alike."
        )
    smallest = min(sizes.values())
    if processing_class is not None and len(processing_class) > smallest:
        raise ValueError(
            f"the tokenizer has {len(processing_class)} tokens but the models know only {smallest}; pass the tokenizer that "
            "belongs to them."
        )


def check_same_tokenizer(tokenizers: Mapping[str, PreTrainedTokenizerBase]) -> None:
    """Refuse tokenizers that give one id to different tokens. Tokens that only one of them has (added ones) are no conflict.

    Raises:
        ValueError: Says how many ids conflict, and shows one.
    """
    by_id = {name: {i: token for token, i in tokenizer.get_vocab().items()} for name, tokenizer in tokenizers.items()}
    for (name, first), (other, second) in itertools.pairwise(by_id.items()):
        conflicts = sorted(i for i in first.keys() & second.keys() if first[i] != second[i])
        if conflicts:
            i = conflicts[0]
            raise ValueError(
                f"the tokenizers of {name} and {other} differ in {len(conflicts)} ids (for example {i} is {first[i]!r} and "
                f"{second[i]!r}), so token ids do not mean the same to both models and nothing can be compared."
            )


def model_depth(model: ModelLike) -> int | None:
    """How many blocks the configuration names; None where it names none. Opens no weights."""
    config = saved_configs(model)[0] if isinstance(model, (str, os.PathLike)) else model.config.get_text_config()
    depth = getattr(config, "num_hidden_layers", None)
    return None if depth is None else int(depth)


@contextlib.contextmanager
def undisturbed(*models: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Evaluate models without leaving a trace: modes, random state, generation settings, rotary frequencies (which longrope follows the last
    batch with) and what else a pass leaves behind (RWKV's rescaled weights, BigBird's kind of attention, RecurrentGemma's states, PEFT's
    way of generating) come back as they were.

    Inside, every module is in eval mode and no gradients are recorded. (Not `torch.inference_mode`: what a model caches under it,
    such as rotary tables, could not be trained with afterwards.)
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    left = [_state_left_behind(module) for model in models for module in model.modules()]
    rotary = [_rotary_state(module) for model in models if rope_switch(model) for module in model.modules()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            for model in models:
                model.eval()
                for module in model.modules():
                    if isinstance(module, PreTrainedModel):
                        vars(module)["warn_if_padding_and_no_attention_mask"] = _say_nothing
            yield
    finally:
        for module, training in modes:
            module.training = training
        for restore in filter(None, (*left, *rotary)):
            restore()
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _say_nothing(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> None:
    """In place of transformers' warning: `generate` drops a mask of ones, and then the model takes an end token for padding."""


_LEFT_BEHIND = (
    *("generation_config", "prepare_inputs_for_generation"),  # PEFT, on the model inside
    "attention_type",  # BigBird, from its first short input on
    *("recurrent_states", "conv1d_state"),  # RecurrentGemma
    "warn_if_padding_and_no_attention_mask",  # `undisturbed` itself, see `_say_nothing`
)
"""Attributes that a forward or a step of generation sets on modules."""


def _state_left_behind(module: Any) -> Callable[[], None]:
    """What puts back the attributes that a pass changes, and the parts and weights that go with them."""
    before = {name: vars(module)[name] for name in _LEFT_BEHIND if name in vars(module)}
    attention = module._modules.get("self")  # BigBird replaces it with its kind of attention
    rescaled = getattr(module, "layers_are_rescaled", None)

    def restore() -> None:
        for name in _LEFT_BEHIND:
            vars(module).pop(name, None)
        vars(module).update(before)
        if attention is not None:
            module._modules["self"] = attention
        if rescaled is not None and rescaled != module.layers_are_rescaled:  # RWKV, whose weights follow its mode
            mode, module.training = module.training, not rescaled
            module._rescale_layers()
            module.training = mode

    return restore


def _rotary_state(module: torch.nn.Module) -> Callable[[], None] | None:
    """What puts a module's rotary frequencies back; None where it has none."""
    before = {
        name: buffer.clone() for name, buffer in module.named_buffers(recurse=False) if name.endswith("inv_freq")
    }
    known = set(vars(module))

    def restore() -> None:
        for name, values in before.items():
            module.get_buffer(name).copy_(values)
        for name in set(vars(module)) - known:
            delattr(module, name)  # the other frequencies, which it keeps once it has met a long row

    return restore if before else None


def generation_holders(model: LoadedModel) -> list[torch.nn.Module]:
    """The wrappers, the model and, under prompt learning, its body: PEFT reads or leaves generation settings on each."""
    if not isinstance(model, PeftModel):
        return [model]
    inner = [model.base_model, model.get_base_model(), getattr(model.base_model, "model", None)]
    return list({id(holder): holder for holder in (model, *inner) if isinstance(holder, torch.nn.Module)}.values())


def in_pieces(model: LoadedModel) -> bool:
    """Whether processes hold a part of each weight (ZeRO-3, FSDP): all must run the same passes then, and none by itself."""
    return any(hasattr(weight, "ds_id") or hasattr(weight, "placements") for weight in model.parameters())
