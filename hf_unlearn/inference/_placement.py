"""Where a model's parts lie: on one device, on several, or under Accelerate's hooks in memory or on disk until they are needed.

The only place that knows those hooks. Does not know what is computed.
"""

import types
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, SequentialHook


def input_device(model: torch.nn.Module) -> torch.device:
    """Where the first of its weights that works on inputs computes: where inputs are best put. `model.device` would say "meta" of weights that
    are fetched when they are needed."""
    for module in model.modules():
        weight = next(module.parameters(recurse=False), None)
        if weight is not None:
            places = (hook.execution_device for hook in _hooks(module) if hook.execution_device is not None)
            return torch.device(next(places, weight.device))
    return torch.device("cpu")


def is_offloaded(model: torch.nn.Module, name: str) -> bool:
    """Whether a weight that is on the meta device now is fetched when it is needed."""
    return _source(model, name) is not None


def stored_tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Everything that is saved with a model, by name in alphabetical order; what is offloaded is fetched one by one."""
    for name, tensor in sorted(model.state_dict().items()):
        yield name, stored(model, name, tensor)


def stored(model: torch.nn.Module, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A weight or buffer itself, where only its shape is in its place.

    Args:
        model: That has it.
        name: Its name.
        tensor: What is in its place.
    """
    source = _source(model, name) if tensor.is_meta else None
    return tensor if source is None else source[name.rpartition(".")[2]]


def has_plain_forward(module: torch.nn.Module) -> bool:
    """Whether it computes what its class says; Accelerate's hooks move inputs and weights around that and change nothing."""
    own = vars(module).get("_old_forward" if _hooks(module) else "forward")
    if own is None:
        return True
    return isinstance(own, types.MethodType) and own.__self__ is module and own.__func__ is type(module).forward


def _hooks(module: torch.nn.Module) -> list[AlignDevicesHook]:
    """Accelerate's that place things; none where there is one of another kind, which may do anything."""
    found = getattr(module, "_hf_hook", None)
    hooks = list(found.hooks) if isinstance(found, SequentialHook) else [found]
    return hooks if all(isinstance(hook, AlignDevicesHook) for hook in hooks) else []


def _source(model: torch.nn.Module, name: str) -> Any:
    """What gives the weights of the module that has this one, if they are offloaded."""
    try:
        module = model.get_submodule(name.rpartition(".")[0])
    except AttributeError:  # saved under another name than it has
        return None
    return next((hook.weights_map for hook in _hooks(module) if hook.offload), None)
