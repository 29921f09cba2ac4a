"""Devices that are none: tensors say that they lie on "ipu:0" or "ipu:1", compute on the CPU, and refuse what real devices refuse.

So code that forgets to move a tensor from one device to another fails on any machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map


CPU = torch.device("cpu")
MAY_MIX = (
    "aten.index.Tensor",
    "aten._index_put_impl_.default",
    "aten.index_put_.default",
    "aten.index_put.default",
    "aten.copy_.default",
)
"""Operations that take indices, or values, from the CPU."""


class Placed(torch.Tensor):
    """A tensor on such a device.

    Attributes:
        held: What it holds, on the CPU.
    """

    held: torch.Tensor

    @staticmethod
    def __new__(cls, real: torch.Tensor, device: torch.device) -> "Placed":
        return torch.Tensor._make_wrapper_subclass(
            cls,
            real.shape,
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device="meta",
        )

    def __init__(self, real: torch.Tensor, device: torch.device):
        self.held, self.place = real, device

    @property
    def device(self) -> torch.device:
        return self.place

    @property
    def is_meta(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"Placed({self.held}, device={self.device})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: tuple, kwargs: dict) -> Any:
    """An operation, on the device where its tensors are."""
    given = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, torch.Tensor)]
    places = {part.device for part in given if part.dim() > 0}
    if len(places) > 1 and not (str(func) in MAY_MIX and len(places - {CPU}) == 1) and "copy" not in str(func):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found {sorted(map(str, places))}")
    if str(func) in MAY_MIX[:4] and given[0].device == CPU and places != {CPU}:
        raise RuntimeError(
            f"{func}: indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        )
    asked = kwargs.get("device")
    own = given[0].device if "copy_" in str(func) else next(iter(places - {CPU}), CPU)
    target = torch.device(asked) if asked is not None else own
    plain = tree_map(lambda part: part.held if isinstance(part, Placed) else part, (args, kwargs))
    if asked is not None:
        plain[1]["device"] = CPU
    found = func(*plain[0], **plain[1])
    first = given[0] if given else None
    if isinstance(first, Placed) and isinstance(found, torch.Tensor) and found is first.held:
        return first  # in place
    if target == CPU:
        return found
    return tree_map(lambda part: Placed(part, target) if isinstance(part, torch.Tensor) else part, found)


class _Devices(TorchDispatchMode):
    """Tensors are made on such devices and moved to them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(func, args, kwargs or {})


class _Made(TorchFunctionMode):
    """What asks a tensor's own options, which know no such device, is said in another way."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = dict(kwargs or {})
        if func is torch.tensor and given.get("device") is not None:
            place = torch.device(given.pop("device"))
            return func(*args, **given).to(place)
        if func is torch.Tensor.to and len(args) > 1 and isinstance(args[1], torch.Tensor):
            return args[0].to(args[1].device, args[1].dtype)
        return func(*args, **given)


@contextmanager
def spread(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Its parts on two devices, as Accelerate dispatches them: embeddings and first layers on one, the rest on the other."""
    with _Made(), _Devices():
        parts = [
            part
            for part in model.modules()
            if next(part.parameters(recurse=False), None) is not None or list(part.buffers(recurse=False))
        ]
        half = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))[1]
        late = {id(part) for part in half.modules()}
        passed = False
        for part in parts:
            passed = passed or id(part) in late
            place = torch.device("ipu", int(passed))
            for name, weight in list(part._parameters.items()):
                if weight is not None:
                    part._parameters[name] = torch.nn.Parameter(weight.data.to(place), requires_grad=False)
            for name, buffer in list(part._buffers.items()):
                if buffer is not None:
                    part._buffers[name] = buffer.to(place)
        for part in (*model.modules(),):
            weight = next(part.parameters(recurse=False), None)
            weight = weight if weight is not None else next(part.buffers(recurse=False), None)
            is_block = any(
                part is block
                for blocks in model.modules()
                if isinstance(blocks, torch.nn.ModuleList)
                for block in blocks
            )
            if weight is None and is_block:
                weight = next(part.parameters())
            if weight is not None:
                add_hook_to_module(part, AlignDevicesHook(execution_device=weight.device, io_same_device=False))
        add_hook_to_module(model, AlignDevicesHook(io_same_device=True), append=True)
        yield model
