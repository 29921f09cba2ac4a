"""What a model computes besides its weights: configuration, adapters and their scaling, attributes of modules, hooks, forward code.

All of it as plain data that can be hashed. Whatever cannot be described makes the model unlike any other, so that nothing that was kept for
another model is used for it. Knows modules and code; not what the description is for.
"""

import enum
import functools
import hashlib
import sys
import types
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from peft import PeftConfig
from transformers import GenerationConfig, PreTrainedConfig

from hf_unlearn.inference._placement import has_plain_forward, stored


LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "deepspeed", "trl", "hf_unlearn")
"""Whose code is told by the library's version."""

MOST_VALUES, DEEPEST = 1_000_000, 40
"""Beyond that nothing is described any more."""

# Where a model came from, and what training or loading notes down: none of it changes what `forward` gives in eval mode.
_BOOKKEEPING = frozenset(vars(torch.nn.Module())) | {
    *(
        "name_or_path",
        "_name_or_path",
        "transformers_version",
        "_commit_hash",
        "architectures",
        "dtype",
        "torch_dtype",
    ),
    *("base_model_name_or_path", "inference_mode", "revision", "peft_version", "auto_mapping", "runtime_config"),
    *("generation_config", "gradient_checkpointing", "_gradient_checkpointing_func", "warnings_issued", "model_tags"),
    *("hf_device_map", "_hf_hook", "_is_hf_initialized", "_hf_peft_config_loaded", "is_parallelizable", "loss_type"),
    *("_loss_function", "base_model_torch_dtype", "_tp_size", "_tp_plan", "_pp_plan", "_ep_plan", "_device_mesh"),
    "_output_capturing_hooks_installed",
    *("_use_kernels", "_weight_conversions"),  # loading notes them; kernels that are in use are modules or a forward
    *("_require_grads_hook", "_require_grads_hooks", "_model_input_names", "hf_quantizer"),
    *("recurrent_states", "conv1d_state"),  # RecurrentGemma's, of its last step of generation
    "warn_if_padding_and_no_attention_mask",  # which `undisturbed` silences
    *("to", "cuda", "xpu", "npu", "mlu", "musa", "sdaa"),  # Accelerate's warnings on models that it has placed
}
# Chosen ways to compute, which a configuration does not show in `to_dict`.
_IMPLEMENTATIONS = ("_attn_implementation", "_experts_implementation")
# Hooks that transformers leaves on a model when hidden states are asked for the first time; they change nothing.
_LISTENING = "transformers.utils.output_capturing"


def describe_behaviour(model: torch.nn.Module) -> Iterator[str]:
    """Lines that say how the model computes.

    Not seen: what is replaced outside the model (library functions, attributes of classes, modules that hooks reach), unless the code of a hook
    or of a forward of one's own shows it. `probe` sees what of that moves the answers.
    """
    described = _Describer()
    persistent = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if name not in persistent:
            yield f"buffer {name} {described(stored(model, name, buffer))}"
    for name, module in model.named_modules():
        yield f"module {name} {_class(type(module), described)}"
        placed = ("forward", "_old_forward") if has_plain_forward(module) else ()
        for key, value in sorted(vars(module).items()):
            if key not in _BOOKKEEPING and key not in placed:
                one = key == "active_adapter" and isinstance(value, str)  # PEFT says it either way
                yield f"attribute {name}.{key} {described([value] if one else value)}"
        for kind, hook in _hooks(module):
            yield f"hook {name}{kind} {described(hook)}"
    for hook in _global_hooks():
        yield f"global hook {described(hook)}"


def is_altered(model: torch.nn.Module) -> bool:
    """Whether somebody has put hooks, or a forward of their own, onto the model."""
    modules = list(model.modules())
    return bool(_global_hooks()) or any(not has_plain_forward(module) or any(_hooks(module)) for module in modules)


def _hooks(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    for kind in ("_forward_pre_hooks", "_forward_hooks"):
        for hook in getattr(module, kind).values():
            if getattr(hook, "__module__", None) != _LISTENING:
                yield kind, hook


def _global_hooks() -> list[Any]:
    kinds = torch.nn.modules.module
    return [*kinds._global_forward_pre_hooks.values(), *kinds._global_forward_hooks.values()]


class _Describer:
    """Turns a value into text without memory addresses; unknown things become something that never comes again."""

    def __init__(self) -> None:
        self._inside: list[int] = []
        self._left = MOST_VALUES

    def __call__(self, value: Any) -> str:
        self._left -= 1
        if self._left < 0 or len(self._inside) > DEEPEST:  # a hook may hold half of somebody's program
            return _unlike()
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype)):
            return repr(value)
        if isinstance(value, torch.device):  # where it computes is not what it computes
            return "device"
        if isinstance(value, np.ndarray):
            plain = value.dtype.kind in "biufc"
            return f"{value.dtype}{value.shape} {_sha256(value.tobytes()) if plain else self(value.tolist())}"
        if isinstance(value, torch.Tensor):
            return _bytes(value)
        if isinstance(value, type):
            return _class(value, self)
        if id(value) in self._inside:
            return "itself"
        self._inside.append(id(value))
        try:
            return self._structure(value)
        finally:
            self._inside.pop()

    def _structure(self, value: Any) -> str:
        if isinstance(value, enum.Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, (list, tuple)):
            return "[" + ",".join(map(self, value)) + "]"
        if isinstance(value, (set, frozenset)):
            return "{" + ",".join(sorted(map(self, value))) + "}"
        if isinstance(value, (PreTrainedConfig, PeftConfig)):
            said = _without_bookkeeping(value.to_dict())
            return self([said, *(getattr(value, name, None) for name in _IMPLEMENTATIONS)])
        if isinstance(value, Mapping):
            return "{" + ",".join(sorted(f"{self(key)}:{self(part)}" for key, part in value.items())) + "}"
        if isinstance(value, torch.nn.Module):  # kept in a list, so that the model itself does not know it
            weights = [f"{name} {_bytes(tensor)}" for name, tensor in sorted(value.state_dict().items())]
            return self([_class(type(value), self), *weights])
        if isinstance(value, functools.partial):
            return self([value.func, value.args, value.keywords])
        if isinstance(value, types.MethodType):
            owner = value.__self__
            named = type(owner).__qualname__ if isinstance(owner, torch.nn.Module) else self(owner)
            return f"{named}.{self(value.__func__)}"
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, (types.ModuleType, type(None))):
            return f"{value.__module__}.{value.__qualname__}"
        return self._object(value)

    def _function(self, function: types.FunctionType) -> str:
        """Its code; of one's own functions also what they carry with them."""
        text = f"{function.__module__}.{function.__qualname__} {_code(function.__code__)}"
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            text += f" of {self(wrapped)}"
        if _of_library(function.__module__):
            return text
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        names = [name for name in function.__code__.co_names if name in function.__globals__]
        outside = {name: function.__globals__[name] for name in names}
        plain = {name: part for name, part in outside.items() if not isinstance(part, (types.ModuleType, type))}
        return text + self([function.__defaults__, function.__kwdefaults__, cells, plain])

    def _object(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, GenerationConfig):
            return "generation_config"
        if _of_library(kind.__module__) or (_of_python(kind.__module__) and hasattr(value, "__dict__")):
            inside = _without_bookkeeping(getattr(value, "__dict__", {})) if len(self._inside) < 6 else {}
            return f"{kind.__module__}.{kind.__qualname__}{self(inside)}"
        if hasattr(value, "__dict__"):
            return f"{_class(kind, self)}{self(vars(value))}"
        return _unlike()


def _unlike() -> str:
    return f"unlike anything else: {uuid.uuid4().hex}"


def _class(kind: type, described: _Describer) -> str:
    """Name and forward code; of a class of one's own all its code, so that an edit counts."""
    forward = getattr(kind, "forward", None)
    parts = [f"{kind.__module__}.{kind.__qualname__}"]
    if isinstance(forward, types.FunctionType):
        parts.append(_wrapped_code(forward))
    for base in kind.__mro__:
        if not _of_library(base.__module__) and not _of_python(base.__module__):
            for name, part in sorted(vars(base).items()):
                function = getattr(part, "fget", None) or getattr(part, "__func__", part)
                if isinstance(function, types.FunctionType):
                    parts.append(f"{name} {_wrapped_code(function)}")
                elif isinstance(part, (bool, int, float, str, tuple)) and not name.startswith("__"):
                    parts.append(f"{name}={described(part)}")
    return " ".join(parts)


def _wrapped_code(function: Any) -> str:
    found = []
    while isinstance(function, types.FunctionType):
        found.append(_code(function.__code__))
        function = getattr(function, "__wrapped__", None)
    return ">".join(found)


@functools.lru_cache(maxsize=4096)
def _code(code: types.CodeType) -> str:
    """Hash of what a function does, without file names, line numbers and addresses."""

    def constant(value: Any) -> str:
        if isinstance(value, types.CodeType):
            return _code(value)
        if isinstance(value, (tuple, frozenset)):
            parts = [constant(part) for part in value]
            return repr(sorted(parts) if isinstance(value, frozenset) else parts)
        return repr(value)

    parts = [code.co_code.hex(), repr(code.co_names), *map(constant, code.co_consts)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _bytes(tensor: torch.Tensor) -> str:
    try:
        data = b"" if tensor.is_meta else raw_bytes(tensor)
        return f"{tuple(tensor.shape)}|{tensor.dtype}|{_sha256(data)}"
    except (TypeError, RuntimeError):  # of a kind whose bytes nobody gives out
        return _unlike()


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """What a tensor holds, row by row; of a sparse one with its zeros."""
    dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
    flat = dense.contiguous().reshape(-1)
    return flat.view(torch.uint8).cpu().numpy().data if flat.numel() else memoryview(b"")


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _without_bookkeeping(values: Mapping[Any, Any]) -> dict[Any, Any]:
    return {
        key: _without_bookkeeping(part) if isinstance(part, Mapping) else part
        for key, part in values.items()
        if key not in _BOOKKEEPING
    }


def _of_library(module: str | None) -> bool:
    return (module or "").split(".")[0] in LIBRARIES


def _of_python(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - looking is what raises
    except ValueError:
        return False
    return True
