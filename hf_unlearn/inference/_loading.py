"""Models and tokenizers as everyone here receives them: loaded, a local path or a Hub id; plain or with PEFT adapters.

Knows how to open them safely. Does not know what they are compared with or what is measured.
"""

import os
from typing import TypeAlias

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
