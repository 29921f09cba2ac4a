"""Models and tokenizers as everyone here receives them: loaded, a local path or a Hub id; plain or with PEFT adapters.

Knows how to open them safely, how to look inside without leaving a trace, and when two of them cannot be compared. Does not
know what is measured.
"""

import contextlib
import hashlib
import itertools
import os
import random
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import torch
from peft import PeftConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.hub import cached_file


ModelLike: TypeAlias = PreTrainedModel | PeftModel | str | os.PathLike
"""A loaded causal language model, the path of one, or its Hub id; also a PEFT adapter's path or id."""


LoadedModel: TypeAlias = PreTrainedModel | PeftModel


def load_model(
    model: ModelLike,
    *,
    dtype: torch.dtype | str = "auto",
    device: torch.device | str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    kind: str = "causal_lm",
) -> PreTrainedModel | PeftModel:
    """The model itself, opened from safetensors if it is a path or an id.

    Args:
        model: Loaded model (returned as it is: same object, same device, same dtype), local path or Hub id. A folder or
            repository with an `adapter_config.json` is opened as adapter on the base model it names.
        dtype: Of the weights, where the model is opened here; "auto" keeps the saved one.
        device: Where to put a model opened here; default: the accelerator if there is one.
        revision: Hub revision of an id.
        trust_remote_code: Whether code from the repository may run. Off unless asked for.
        kind: "causal_lm", or "any": also encoders, vision models and whatever else `AutoModel` opens.

    Returns:
        A causal language model (or any model); in eval mode if it was opened here.

    Raises:
        FileNotFoundError: Neither a folder nor a repository that can be reached.
        TypeError: Not a causal language model.
    """
    if not isinstance(model, (str, os.PathLike)):
        model = getattr(model, "module", model)  # DistributedDataParallel and its like
        if not isinstance(model, (PreTrainedModel, PeftModel)):
            raise TypeError(
                f"expected a transformers or PEFT model, a local path or a Hub id; got {type(model).__name__}."
            )
        if model.config.is_encoder_decoder:
            raise TypeError(f"{type(model).__name__} is an encoder-decoder; causal language models are supported.")
        return model
    name = str(model)
    options = {"revision": revision, "dtype": dtype, "trust_remote_code": trust_remote_code, "kind": kind}
    try:
        loaded = (
            _open_adapter(name, options) if _has_file(name, "adapter_config.json", revision) else _open(name, options)
        )
    except OSError as error:
        raise FileNotFoundError(
            f"cannot open model {name!r}: it is not a local folder with safetensors weights, or the Hub cannot be reached "
            f"or does not have it. ({error})"
        ) from error
    target = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return loaded.to(target).eval()


def load_processing_class(
    model: ModelLike,
    processing_class: PreTrainedTokenizerBase | str | os.PathLike | None = None,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedTokenizerBase:
    """The tokenizer: the one given, or the one saved beside the model.

    Raises:
        ValueError: None was given and the model does not say where its own is.
    """
    if isinstance(processing_class, PreTrainedTokenizerBase):
        return processing_class
    source = processing_class
    if source is None:
        # A model opened from a folder or the Hub remembers where it came from, and so does the base of an adapter.
        source = model if isinstance(model, (str, os.PathLike)) else getattr(model.config, "_name_or_path", "")
    if not str(source):
        raise ValueError("pass processing_class=: the model was built in memory and has no tokenizer of its own.")
    try:
        return AutoTokenizer.from_pretrained(str(source), revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ValueError(f"no tokenizer in {str(source)!r}: pass processing_class=. ({error})") from error


def saved_configs(name: str | os.PathLike) -> list[PreTrainedConfig | GenerationConfig]:
    """The configurations of a path or id (of an adapter: those of its base), without opening any weights.

    Raises:
        FileNotFoundError: There is no model.
    """
    name = str(name)
    try:
        if _has_file(name, "adapter_config.json", None):
            name = str(PeftConfig.from_pretrained(name).base_model_name_or_path)
        configs = [AutoConfig.from_pretrained(name).get_text_config()]
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"cannot open model {name!r}: it is neither a local model folder nor one that the Hub gives now. ({error})"
        ) from error
    if _has_file(name, "generation_config.json", None):
        configs.append(GenerationConfig.from_pretrained(name))
    return configs


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
    """The transformers model inside, with its adapters still at work.

    Prompt-learning adapters work outside the inner model, so they keep their wrapper.
    """
    if isinstance(model, PeftModel) and not model.active_peft_config.is_prompt_learning:
        return model.get_base_model()
    return model


def vocabulary_size(model: ModelLike) -> int:
    """How many logits the model gives; of a path or id, what its configuration says."""
    if isinstance(model, (str, os.PathLike)):
        return int(saved_configs(model)[0].vocab_size)
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    return int(weight.shape[0]) if weight is not None else int(model.config.get_text_config().vocab_size)


def context_length(model: PreTrainedModel | PeftModel) -> int | None:
    """How many tokens the model can see at once; None where its configuration names no limit."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length and length > 0 else None


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


def model_fingerprint(model: LoadedModel) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all weights and buffers that are saved, adapters included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}\n".encode())
        flat = tensor.detach().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).cpu().numpy() if flat.numel() else b"")
    return digest.hexdigest()


def share_starting_weights(a: LoadedModel, b: LoadedModel) -> bool:
    """Whether two models were trained from the same weights, so that coordinates of their hidden states mean the same.

    Fine-tuning moves weights little: the cosine of all weight matrices stays near 1 (0.86 between pocket's original and reference, which
    were trained from scratch from one seed), while that of independent starts is about 0 (−0.02 there). The line is drawn at 0.5.
    """
    products = np.zeros(3)
    first, second = _plain_matrices(a), _plain_matrices(b)
    for name in first.keys() & second.keys():
        x, y = first[name].detach().float(), second[name].detach().float().to(first[name].device)
        if x.shape == y.shape:
            products += [float((x * y).sum()), float((x * x).sum()), float((y * y).sum())]
    scale = float(np.sqrt(products[1] * products[2]))
    return scale > 0 and bool(products[0] / scale > 0.5)


def _plain_matrices(model: LoadedModel) -> dict[str, torch.Tensor]:
    """Weight matrices under the names that they have without adapters."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return {
        name.replace(".base_layer", ""): tensor
        for name, tensor in inner.named_parameters()
        if tensor.dim() > 1 and tensor.is_floating_point() and "lora_" not in name
    }


@contextlib.contextmanager
def undisturbed(*models: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Evaluate models without leaving a trace: modes, random state and generation settings come back as they were.

    Inside, every module is in eval mode and no gradients are recorded. (Not `torch.inference_mode`: what a model caches under it,
    such as rotary tables, could not be trained with afterwards.)
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    settings = [
        (holder, vars(holder).get("generation_config")) for model in models for holder in generation_holders(model)
    ]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            for model in models:
                model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        for holder, generation_config in settings:
            vars(holder).pop("generation_config", None)
            if generation_config is not None:
                holder.generation_config = generation_config
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def generation_holders(model: LoadedModel) -> list[torch.nn.Module]:
    """The wrappers, the model and, under prompt learning, its body: PEFT reads or leaves generation settings on each."""
    if not isinstance(model, PeftModel):
        return [model]
    inner = [model.base_model, model.get_base_model(), getattr(model.base_model, "model", None)]
    return list({id(holder): holder for holder in (model, *inner) if isinstance(holder, torch.nn.Module)}.values())


def _open(name: str, options: dict) -> PreTrainedModel:
    options = dict(options)
    kind = AutoModelForCausalLM
    if options.pop("kind") == "any" and not _is_causal_lm(name, options["revision"]):
        kind = AutoModel
    return kind.from_pretrained(name, use_safetensors=True, **options)


def _is_causal_lm(name: str, revision: str | None) -> bool:
    architectures = AutoConfig.from_pretrained(name, revision=revision).architectures or []
    return any(architecture.endswith(("ForCausalLM", "LMHeadModel")) for architecture in architectures)


def _open_adapter(name: str, options: dict) -> PeftModel:
    """The adapter on its base. PEFT would fall back to pickled weights, so their absence is checked here."""
    revision = options["revision"]
    if not _has_file(name, "adapter_model.safetensors", revision):
        raise OSError(f"the adapter {name!r} has no adapter_model.safetensors")
    config = PeftConfig.from_pretrained(name, revision=revision)
    base = _open(config.base_model_name_or_path, {**options, "revision": config.revision})
    return PeftModel.from_pretrained(base, name, revision=revision, config=config)


def _has_file(name: str, file: str, revision: str | None) -> bool:
    if os.path.isdir(name):
        return os.path.isfile(os.path.join(name, file))
    found = cached_file(
        name,
        file,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found is not None
