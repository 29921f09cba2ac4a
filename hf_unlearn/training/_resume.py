"""Going on from a checkpoint: only from a whole one, and only with the run that it is a checkpoint of."""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import Trainer, TrainerState
from transformers.trainer_utils import sort_checkpoints

from hf_unlearn.data import data_fingerprint
from hf_unlearn.inference import is_main_process
from hf_unlearn.objectives import Objective, RetainTerm
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._knowledge import sample_of


logger = logging.getLogger(__name__)
OPTIMISATION = (
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "weight_decay",
    "optim",
    "max_grad_norm",
)
"""Arguments of the Trainer that weights depend on. A checkpoint brings its optimizer's along: others given now would not be used."""
_NO_PART_OF_ADAPTER = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_version",
    "revision",
    "task_type",
}
MAX_RETAIN_ROWS = 10_000
SAMPLED = 64
"""Numbers of each weight that tell one model from another; training moves all of them."""


def last_whole_checkpoint(folder: str | os.PathLike) -> str | None:
    """The latest checkpoint that was written to its end; a warning names those that were not.

    Args:
        folder: The Trainer's `output_dir`.

    Returns:
        Its path; None if there is no checkpoint at all.

    Raises:
        ValueError: There are checkpoints, but none is whole.
    """
    found = sort_checkpoints(output_dir=str(folder)) if Path(folder).is_dir() else []
    for path in reversed(found):
        missing = _what_is_missing(Path(path))
        if missing is None:
            return str(path)
        logger.warning(
            "%s is incomplete (%s), as after a kill while it was written; it is passed over.", path, missing
        )
    if found:
        raise ValueError(f"no checkpoint in {str(folder)!r} is complete; start the training anew.")
    return None


def _what_is_missing(checkpoint: Path) -> str | None:
    state = checkpoint / "trainer_state.json"  # the Trainer writes it last
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"no readable {state.name}"
    for path in sorted(checkpoint.iterdir()):
        if path.suffix == ".safetensors" and not _is_whole(path):
            return f"{path.name} is cut off"
        if path.suffix in (".pt", ".pth") and not zipfile.is_zipfile(path):
            return f"{path.name} is cut off"
    return None


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    return path.stat().st_size == 8 + length + end


def run_settings(
    trainer: Trainer, objective: Objective, retain_term: RetainTerm, forget: ForgetData, **numbers: Any
) -> dict[str, Any]:
    """What makes a run another one than the next, as JSON keeps it.

    Not how a step is cut into micro-batches, which changes no trajectory, nor how long the training is to be: it may be prolonged.

    Args:
        trainer: Before training.
        objective: With its options.
        retain_term: With its options.
        forget: The forget set.
        **numbers: Weights, seeds and batches.
    """
    parts = {"objective": described(objective), "retain_term": described(retain_term)}
    settings = {**parts, "forget_set": forget_set_sha256(forget), "retain_set": _retain_set(trainer.train_dataset)}
    settings |= (
        {name: getattr(trainer.args, name) for name in OPTIMISATION} | adapter_settings(trainer.model) | numbers
    )
    return json.loads(json.dumps(settings, default=str))


def _retain_set(dataset: Any) -> dict[str, Any]:
    """Rows and content, of a large set of evenly spread rows; what has no content that could be hashed counts by its length alone."""
    found: dict[str, Any] = {"rows": len(dataset) if hasattr(dataset, "__len__") else None, "sha256": None}
    if isinstance(dataset, Dataset):
        try:
            found["sha256"] = data_fingerprint(dataset.select(sample_of(range(len(dataset)), MAX_RETAIN_ROWS)))
        except (TypeError, OSError):
            logger.info(
                "the retain set has no content that could be hashed; a resumed run is told by its length alone."
            )
    return found


def adapter_settings(model: torch.nn.Module) -> dict[str, Any]:
    """Kind and configuration of the adapter that trains, one setting each, so that what differs is named alone."""
    if not isinstance(model, PeftModel):
        return {"adapter": None}
    found = {
        name: value for name, value in model.active_peft_config.to_dict().items() if name not in _NO_PART_OF_ADAPTER
    }
    kind = found.pop("peft_type")
    sets = {name: sorted(value) if isinstance(value, set) else value for name, value in found.items()}
    return {"adapter": kind, **{f"adapter's {name}": value for name, value in sets.items()}}


def described(part: Any) -> dict[str, Any]:
    """An objective or retain term by its name and options."""
    fields = asdict(part) if is_dataclass(part) and not isinstance(part, type) else {"name": part.name}
    return {name: value for name, value in fields.items() if name not in ("reduction", "needs", "needs_original")}


def forget_set_sha256(forget: ForgetData) -> str | None:
    """Of the forget set by content; of a classifier as it is stored, since a transform may draw at random; None where that has no content."""
    if not forget.is_classification:
        return examples_sha256(forget.examples)
    try:
        return data_fingerprint(forget.rows)
    except TypeError:
        return None


def examples_sha256(examples: Iterable[Mapping[str, Any]]) -> str:
    """Of numbers and tensors by name, by content."""
    digest = hashlib.sha256()
    for row in examples:
        for name, value in sorted(row.items()):
            array = np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value)
            digest.update(f"{name}|{array.shape}|{array.dtype}\n".encode() + array.tobytes())
    return digest.hexdigest()


def starting_weights(model: torch.nn.Module) -> dict[str, str]:
    """SHA-256 over some numbers of each weight that trains, and of each that does not: cheap, and another model has another one."""
    digests = {True: hashlib.sha256(), False: hashlib.sha256()}
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        few = flat[:: max(1, flat.numel() // SAMPLED)][:SAMPLED]
        line = f"{name}|{tuple(parameter.shape)}\n".encode() + few.float().cpu().numpy().tobytes()
        digests[parameter.requires_grad].update(line)
    return {"trained": digests[True].hexdigest(), "frozen": digests[False].hexdigest()}


def saved_state(stateful_callbacks: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the callback left in a checkpoint; None if there was none. With several in one Trainer, the last one's."""
    found = stateful_callbacks.get("UnlearningCallback")
    found = found[-1] if isinstance(found, list) else found
    return found["attributes"] if found else None


def say_if_done(state: TrainerState) -> None:
    """A warning where training goes on from a checkpoint after its last step."""
    if state.global_step >= state.max_steps and is_main_process():
        logger.warning(
            "the checkpoint has done %d of %d optimisation steps: nothing is left to train, the result is the checkpoint's.",
            state.global_step,
            state.max_steps,
        )


@dataclass(frozen=True)
class Run:
    """What makes a run another one than the next.

    Attributes:
        settings: Those of `run_settings`.
        weights: `starting_weights` of the model before unlearning.
        compares: Whether anything is compared with that model.
    """

    settings: Mapping[str, Any]
    weights: Mapping[str, str]
    compares: bool

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"run": dict(self.settings), "weights": dict(self.weights)}

    def check_checkpoint(self, checkpoint: str | os.PathLike) -> None:
        """`check_settings` of a checkpoint's folder, before anything of it is loaded: an adapter of another rank does not even fit.

        Raises:
            ValueError: Names what differs, and how.
        """
        try:
            text = (Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8")
            callbacks = json.loads(text).get("stateful_callbacks", {})
        except (OSError, ValueError):
            return  # the Trainer says what is wrong with the folder
        self.check_settings(saved_state(callbacks) or {})

    def check_settings(self, saved: Mapping[str, Any]) -> None:
        """Refuse the settings of another run.

        Args:
            saved: The checkpoint's `state`; what older ones lack is not compared.

        Raises:
            ValueError: Names what differs, and how.
        """
        before = saved.get("run", {})
        differing = [name for name, value in self.settings.items() if name in before and before[name] != value]
        if differing:
            said = "; ".join(f"{name} was {before[name]} and is {self.settings[name]}" for name in differing)
            raise ValueError(
                f"the checkpoint belongs to another run: {said}. Go on with what it was made with, or start anew in another output_dir."
            )

    def check(self, saved: Mapping[str, Any], trainer: Trainer) -> None:
        """Refuse to go on with another run than the checkpoint's.

        Args:
            saved: The checkpoint's `state`.
            trainer: Whose model has the checkpoint's weights by now.

        Raises:
            ValueError: Names what differs, and how.
        """
        self.check_settings(saved)
        if "weights" in saved and not (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
            self._check_start(saved["weights"], trainer.model)

    def _check_start(self, start: Mapping[str, str], model: torch.nn.Module) -> None:
        """The model must be the one that the checkpoint's run started from; a warning where it is the checkpoint itself."""
        reloaded = starting_weights(model)["trained"] == self.weights["trained"]
        adapted = isinstance(model, PeftModel)  # a fresh adapter is another one each time
        same = start["frozen"] == self.weights["frozen"] and (adapted or start["trained"] == self.weights["trained"])
        if reloaded and start["trained"] != self.weights["trained"]:
            if self.compares:
                logger.warning(
                    "the model given to the Trainer is the checkpoint itself: what is compared with the original is compared with the "
                    "checkpoint. Open the model as it was before unlearning, and let train() load the checkpoint."
                )
        elif not same:
            raise ValueError(
                "the checkpoint belongs to another run: it started from another model. Give the Trainer the model as it was before "
                "unlearning, or start anew in another output_dir."
            )
