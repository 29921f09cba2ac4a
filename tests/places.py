"""Ways to put a model in several places that need no accelerator: Accelerate's hooks fetch its weights from memory or disk."""

from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import cpu_offload, disk_offload, dispatch_model


Place = Callable[[torch.nn.Module, Path], torch.nn.Module]


def split(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """Blocks in turn in memory and on disk, as `device_map="auto"` does where memory is short."""
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    inside = {id(module) for module in blocks}
    where = {}

    def visit(name: str, module: torch.nn.Module) -> None:
        if id(module) in inside or not any(id(part) in inside for part in module.modules()):
            if any(True for _ in (*module.parameters(), *module.buffers())):
                where[name] = "disk" if len(where) % 2 else "cpu"
            return
        for child, part in module.named_children():
            visit(f"{name}.{child}" if name else child, part)

    visit("", model)
    return dispatch_model(model, where, main_device="cpu", offload_dir=str(folder), force_hooks=True)


PLACES: dict[str, Place] = {
    "memory": lambda model, folder: cpu_offload(model, execution_device="cpu"),
    "disk": lambda model, folder: disk_offload(model, str(folder), execution_device="cpu"),
    "hooks": lambda model, folder: dispatch_model(model, {"": "cpu"}, force_hooks=True),
    "split": split,
}
