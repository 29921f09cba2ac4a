"""Models and tokenizers as everyone here receives them: loaded, a local path or a Hub id; plain or with PEFT adapters.

Knows how to open them safely. Does not know what they are compared with or what is measured.
"""

import os
from typing import TypeAlias
from weakref import WeakKeyDictionary

import torch
from peft import PeftConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hf_unlearn.config import SPREADS
from hf_unlearn.inference._checkpoints import (
    ADAPTER_WEIGHTS,
    check_adapter_complete,
    check_complete,
    has_file,
    refuse_unknown,
    split_revision,
)
from hf_unlearn.inference._placement import is_offloaded


ModelLike: TypeAlias = PreTrainedModel | PeftModel | str | os.PathLike
"""A loaded causal language model, the path of one, or its Hub id, if need be with a revision (`me/model@v1`); also a PEFT adapter's path or id."""


LoadedModel: TypeAlias = PreTrainedModel | PeftModel

CLASSIFIERS: dict[str, type] = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForImageClassification": AutoModelForImageClassification,
}
"""How the classes of classifiers end, and what opens them."""


_REVISIONS: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()
"""Of models that were opened here under a revision: their own configuration does not keep it."""


def load_model(
    model: ModelLike,
    *,
    dtype: torch.dtype | str = "auto",
    device: torch.device | str | None = None,
    device_map: str | None = None,
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
        device_map: In place of it: a device, or "auto", "balanced", "balanced_low_0" or "sequential", which spread the model over all devices,
            and over memory and disk where they are too small.
        revision: Hub revision of an id; or behind it, as in `me/model@v1`.
        trust_remote_code: Whether code from the repository may run. Off unless asked for.
        kind: "causal_lm"; "classifier": of sequences or images, with its head; or "any": also encoders, vision models and whatever
            else `AutoModel` opens.

    Returns:
        A causal language model (or any model); in eval mode if it was opened here.

    Raises:
        FileNotFoundError: Neither a folder nor a repository that can be reached.
        TypeError: Not a causal language model.
        ValueError: A model without weights, or a file that lacks some of them or has others; a device that is not there, or a spread over devices
            that several processes of this machine would take from each other.
    """
    model = plain_model(model, kind=kind)
    if not isinstance(model, (str, os.PathLike)):
        return model
    name, revision = split_revision(model, revision)
    refuse_unknown(name, revision)
    options = {"revision": revision, "dtype": dtype, "trust_remote_code": trust_remote_code, "kind": kind}
    if device_map is not None:
        options["device_map"] = _possible(device_map)
    try:
        loaded = (
            _open_adapter(name, options) if has_file(name, "adapter_config.json", revision) else _open(name, options)
        )
    except OSError as error:
        raise FileNotFoundError(
            f"cannot open model {name!r}: no safetensors weights and configuration are there that belong together. ({error})"
        ) from error
    if device_map is not None:
        return loaded.eval()
    target = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return loaded.to(target).eval()


def _possible(device_map: str) -> str:
    """A device map that can be had here."""
    if device_map in SPREADS:
        if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
            raise ValueError(
                f"device_map={device_map!r} spreads each model over all devices, and the processes of one machine would take them from each other. "
                "Start one process, or leave device_map out."
            )
        return device_map
    try:
        torch.empty(0, device=device_map)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device_map={device_map!r} is no device that is there. ({error})") from error
    return device_map


def load_processing_class(
    model: ModelLike,
    processing_class: PreTrainedTokenizerBase | str | os.PathLike | None = None,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedTokenizerBase:
    """The tokenizer: the one given, or the one saved beside the model; of an adapter saved without one, that of its base.

    Raises:
        FileNotFoundError: A path or id that leads nowhere.
        ValueError: None was given and the model does not say where its own is.
    """
    if isinstance(processing_class, PreTrainedTokenizerBase):
        return processing_class
    given: str | os.PathLike = processing_class if processing_class is not None else ""
    if processing_class is None:
        # A model opened from a folder or the Hub remembers where it came from, and so does the base of an adapter.
        given = model if isinstance(model, (str, os.PathLike)) else _home(model)
    if not str(given):
        raise ValueError("pass processing_class=: the model was built in memory and has no tokenizer of its own.")
    source, revision = split_revision(given, revision)
    refuse_unknown(source, revision)
    if processing_class is None and _is_adapter_alone(source, revision):
        source, revision = _base_of_adapter(source, revision)
    try:
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ValueError(f"no tokenizer in {str(source)!r}: pass processing_class=. ({error})") from error


def _base_of_adapter(name: str, revision: str | None) -> tuple[str, str | None]:
    """Name and revision of the base that an adapter names, if there is one.

    Raises:
        FileNotFoundError: It leads nowhere.
    """
    config = PeftConfig.from_pretrained(name, revision=revision)
    base, revision = split_revision(str(config.base_model_name_or_path), config.revision)
    refuse_unknown(base, revision)
    return base, revision


def _is_adapter_alone(name: str, revision: str | None) -> bool:
    """Whether it is an adapter with no tokenizer beside it."""
    if not has_file(name, "adapter_config.json", revision):
        return False
    return not any(has_file(name, file, revision) for file in ("tokenizer_config.json", "tokenizer.json"))


def saved_tokenizer(model: ModelLike) -> PreTrainedTokenizerBase | None:
    """The tokenizer in the folder that a model came from; None where there is none, or no such folder."""
    try:
        return load_processing_class(model)
    except (OSError, ValueError):
        return None


def saved_configs(name: str | os.PathLike) -> list[PreTrainedConfig | GenerationConfig]:
    """The configurations of a path or id (of an adapter: those of its base), without opening any weights.

    Raises:
        FileNotFoundError: There is no model.
    """
    name, revision = split_revision(name)
    refuse_unknown(name, revision)
    try:
        if has_file(name, "adapter_config.json", revision):
            name, revision = _base_of_adapter(name, revision)
        configs = [AutoConfig.from_pretrained(name, revision=revision).get_text_config()]
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"cannot open model {name!r}: it is neither a local model folder nor one that the Hub gives now. ({error})"
        ) from error
    if has_file(name, "generation_config.json", revision):
        configs.append(GenerationConfig.from_pretrained(name, revision=revision))
    return configs


def opened_revision(model: LoadedModel) -> str | None:
    """Under which revision of a Hub id `load_model` opened a model (of an adapter: its base); None where none was named."""
    return _REVISIONS.get(model.get_base_model() if isinstance(model, PeftModel) else model)


def _home(model: LoadedModel) -> str:
    """Where a loaded model says that it came from, with its revision, if that is still there."""
    name, revision = str(getattr(model.config, "_name_or_path", "")), opened_revision(model)
    try:
        refuse_unknown(name, revision)
    except FileNotFoundError:
        return ""
    return name if revision is None else f"{name}@{revision}"


def is_classifier(model: ModelLike) -> bool:
    """Whether the model gives one row of class logits per example; of a path or id by what its configuration says, if it can be read."""
    if isinstance(model, (str, os.PathLike)):
        return _classifier_of(str(model), None) is not None
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return type(inner).__name__.endswith(tuple(CLASSIFIERS))


def _classifier_of(name: str, revision: str | None) -> type | None:
    try:
        name, revision = split_revision(name, revision)
        refuse_unknown(name, revision)
        architectures = AutoConfig.from_pretrained(name, revision=revision).architectures or []
    except (OSError, ValueError):
        return None  # whoever opens it says what is wrong
    return next((auto for end, auto in CLASSIFIERS.items() if any(each.endswith(end) for each in architectures)), None)


def plain_model(model: ModelLike, *, kind: str = "causal_lm") -> ModelLike:
    """A path or id as it is; of a loaded model what is inside DataParallel and its like, if it can be measured.

    Raises:
        TypeError: Not a model, or not of this kind.
        ValueError: A model without weights.
    """
    if isinstance(model, (str, os.PathLike)):
        return model
    model = getattr(model, "module", model)
    if not isinstance(model, (PreTrainedModel, PeftModel)):
        raise TypeError(
            f"expected a transformers or PEFT model, a local path or a Hub id; got {type(model).__name__}."
        )
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    if model.config.is_encoder_decoder:
        raise TypeError(f"{type(inner).__name__} is an encoder-decoder; causal language models are supported.")
    if kind == "causal_lm" and not inner.can_generate():
        raise TypeError(
            f"{type(inner).__name__} is no causal language model: it does not generate text. Pass one that does "
            "(AutoModelForCausalLM)."
        )
    empty = [name for name, weight in model.named_parameters() if weight.is_meta and not is_offloaded(model, name)]
    if empty:
        raise ValueError(
            f"{type(inner).__name__} has no weights: {len(empty)} parameters are on the meta device (first: {empty[0]}) and nothing says where "
            "they come from. Load it onto a CPU or accelerators, or let Accelerate offload it."
        )
    return model


def _open(name: str, options: dict) -> PreTrainedModel:
    options = dict(options)
    asked = options.pop("kind")
    only_body = asked == "any" and not _is_causal_lm(name, options["revision"])
    kind = AutoModel if only_body else AutoModelForCausalLM
    if asked == "classifier":
        kind = _classifier_of(name, options["revision"]) or AutoModelForSequenceClassification
    model, report = kind.from_pretrained(name, use_safetensors=True, output_loading_info=True, **options)
    if options["revision"] is not None and not os.path.isdir(name):
        _REVISIONS[model] = options["revision"]
    check_complete(name, model, report, only_body=only_body)
    return model


def _is_causal_lm(name: str, revision: str | None) -> bool:
    architectures = AutoConfig.from_pretrained(name, revision=revision).architectures or []
    return any(architecture.endswith(("ForCausalLM", "LMHeadModel")) for architecture in architectures)


def _open_adapter(name: str, options: dict) -> PeftModel:
    """The adapter on its base. PEFT would fall back to pickled weights, so their absence is checked here."""
    revision = options["revision"]
    if not has_file(name, ADAPTER_WEIGHTS, revision):
        raise OSError(f"the adapter {name!r} has no {ADAPTER_WEIGHTS}")
    base, base_revision = _base_of_adapter(name, revision)
    opened = PeftModel.from_pretrained(
        _open(base, {**options, "revision": base_revision}),
        name,
        revision=revision,
        config=PeftConfig.from_pretrained(name, revision=revision),
    )
    check_adapter_complete(name, opened, revision)
    return opened
