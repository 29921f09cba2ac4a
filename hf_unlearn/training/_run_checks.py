"""What must be right before a run begins: a place of its own for the result, and weights that may train. Knows no data and no objective."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import PeftModel

from hf_unlearn.inference import ModelLike


def refuse_own_folder(model: ModelLike, folder: Path) -> None:
    """The result must not replace the model it is made from: without the original nothing can be compared any more.

    Args:
        model: Path, id or loaded model.
        folder: Where the result would go; a folder inside the model's, or around it, is another one.

    Raises:
        ValueError: It is the model's own folder, or that of the base under its adapter.
    """
    for home in _homes(model):
        if home.is_dir() and home.resolve() == folder.resolve():
            raise ValueError(
                f"output_dir {str(folder)!r} is the folder of the model that must forget (or of its base): the original would be "
                "overwritten. Choose another output_dir."
            )


def _homes(model: ModelLike) -> Iterator[Path]:
    """Folders, or ids that look like some, which the model was or will be opened from."""
    if isinstance(model, (str, os.PathLike)):
        yield Path(model)
        adapter = Path(model) / "adapter_config.json"
        if adapter.is_file():
            yield from _named(json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path"))
        return
    model = getattr(model, "module", model)
    yield from _named(getattr(getattr(model, "config", None), "_name_or_path", None))
    if isinstance(model, PeftModel):
        for config in model.peft_config.values():
            yield from _named(config.base_model_name_or_path)


def _named(name: object) -> Iterator[Path]:
    if name:  # Path("") is the working directory
        yield Path(str(name))


def check_trainable(model: torch.nn.Module) -> None:
    """Refuse a model of which nothing would train.

    Raises:
        ValueError: All weights are frozen; says how they are let go.
    """
    if any(parameter.requires_grad for parameter in model.parameters()):
        return
    how = (
        "an adapter is opened for inference unless one asks: PeftModel.from_pretrained(base, adapter, is_trainable=True)"
        if isinstance(model, PeftModel)
        else "call model.requires_grad_(True), or pass a PEFT adapter to train"
    )
    raise ValueError(
        f"all weights of the model are frozen (requires_grad is False), so nothing would be trained: {how}."
    )
