"""A recipe as it shows in a Trainer that has not trained yet: what would make another model of the same rows, as JSON keeps it.

Knows arguments, configurations and starting weights. Does not know rows, seeds or folders.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import Trainer

from hf_unlearn.training._resume import SAMPLED, adapter_settings


_NO_PART = (
    *("output_dir", "logging_", "log_", "save_", "eval_", "per_device_eval", "hub_", "push_to_hub", "report_to", "run_name"),
    *("disable_tqdm", "do_", "seed", "data_seed", "dataloader_num_workers", "dataloader_pin", "dataloader_persistent"),
    *("dataloader_prefetch", "ddp_", "local_rank", "gradient_checkpointing", "torch_compile", "include_", "resume_from"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "use_cpu", "no_cuda", "deepspeed", "fsdp", "project"),
    *("trackio", "skip_memory", "use_cache", "prediction_loss_only", "batch_eval", "full_determinism", "debug"),
    *("activation_checkpointing", "enable_jit", "accelerator_config", "parallelism_config", "torch_empty_cache", "ignore_data_skip", "restore_callback"),
)  # fmt: skip
"""How arguments begin that say where a run writes, what it shows and on what it runs, not which weights it ends with."""
_NO_PART_OF_CONFIGURATION = ("_name_or_path", "transformers_version", "use_cache")


def recipe_of(trainer: Trainer) -> dict[str, Any]:
    """What makes two trainings of the same rows and seed end with different weights, by name.

    Not how a step is cut into micro-batches, which changes no trajectory but for rounding. Code (losses, collators, callbacks) cannot be
    seen from here.

    Args:
        trainer: Before training.
    """
    args = trainer.args
    arguments = {name: value for name, value in args.to_dict().items() if not name.startswith(_NO_PART)}
    configuration = {
        f"configuration's {name}": value
        for name, value in trainer.model.config.to_dict().items()
        if name not in _NO_PART_OF_CONFIGURATION
    }
    found = {
        "trainer": type(trainer).__name__,
        "model": type(_plain(trainer.model)).__name__,
        **arguments,
        **configuration,
    }
    found["rows per step"] = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return _without_folders(
        json.loads(json.dumps({**found, **adapter_settings(trainer.model)}, sort_keys=True, default=str))
    )


def start_of(model: torch.nn.Module) -> dict[str, str]:
    """Of each weight that a training starts from, its size and a hash of some of its numbers.

    Those of a fresh adapter are left out: they are drawn anew each time, and say nothing about the model under it.
    """
    adapted = isinstance(model, PeftModel)
    found = {}
    for name, parameter in sorted(model.named_parameters()):
        if adapted and parameter.requires_grad:
            continue
        flat = parameter.detach().reshape(-1)
        few = flat[:: max(1, flat.numel() // SAMPLED)][:SAMPLED].float().cpu().numpy()
        found[name] = f"{parameter.numel()}:{hashlib.sha256(few.tobytes()).hexdigest()[:16]}"
    return found


def shared_start(one: Mapping[str, str], two: Mapping[str, str]) -> float:
    """Share of the weights, by their numbers, that two starts have in common; 1 for one base, near 0 for independent draws."""
    total = sum(_size(entry) for entry in one.values())
    common = sum(_size(entry) for name, entry in one.items() if two.get(name) == entry)
    return common / total if total else 1.0


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two descriptions, in words; what only one of them names is another version's."""
    return [
        f"{name} was {before[name]} and is {now[name]}" for name in before if name in now and before[name] != now[name]
    ]


def _without_folders(value: Any) -> Any:
    """What is written down may travel: of a path on this machine the last part."""
    if isinstance(value, dict):
        return {name: _without_folders(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def _size(entry: str) -> int:
    return int(entry.partition(":")[0])


def _plain(model: torch.nn.Module) -> torch.nn.Module:
    return model.get_base_model() if isinstance(model, PeftModel) else model
