"""What `unlearn` leaves, and how it is written to a folder. Knows no training."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn._files import fill_atomically


ADAPTER_FILES = ("adapter_config.json", "adapter_model*.safetensors", "adapter_model*.bin")
MODEL_FILES = ("config.json", "generation_config.json", "model*.safetensors", "model*.safetensors.index.json", "pytorch_model*.bin")  # fmt: skip


@dataclass(frozen=True)
class UnlearnResult:
    """What `unlearn` leaves.

    Attributes:
        model: In eval mode; with LoRA the PEFT model.
        processing_class: The tokenizer, or the image processor; None where a classifier's rows needed none.
        output_dir: Where model (or adapter), tokenizer and `unlearning.json` are.
        log_history: The Trainer's, with `forget_loss` and `retain_loss`.
        settings: What `unlearning.json` holds: objective, weights, seeds, fingerprints, versions; no data.
        before: `forget_probability` and `retain_probability` of the model as it came: exp(mean token log-probability) of the answers, in
            [0, 1], mean over at most 64 rows of each set. Empty where weights lie in pieces on several devices (DeepSpeed, FSDP).
        after: The same of the result.
    """

    model: PreTrainedModel | PeftModel
    processing_class: PreTrainedTokenizerBase | BaseImageProcessor | None
    output_dir: Path
    log_history: list[dict[str, float]]
    settings: dict[str, Any]
    before: Mapping[str, float]
    after: Mapping[str, float]

    def save(self, folder: str | os.PathLike) -> None:
        """Write model (or adapter), tokenizer and `unlearning.json` into a folder; what a kill leaves unfinished cannot be opened.

        An earlier model or adapter in the folder goes, unless it is the base that this adapter is on.

        Raises:
            OSError: The folder cannot be written to.
        """

        def write(target: Path) -> None:
            # Not trainer.save_model, which adds the arguments as a pickle.
            self.model.save_pretrained(target)
            if self.processing_class is not None:
                self.processing_class.save_pretrained(target)
            text = json.dumps(self.settings, indent=2, default=str) + "\n"
            (target / "unlearning.json").write_text(text, encoding="utf-8")

        fill_atomically(Path(folder), write, stale=self._stale(Path(folder)))

    def _stale(self, folder: Path) -> tuple[str, ...]:
        """What another run has left there, and would be opened instead of this result or with it."""
        if not isinstance(self.model, PeftModel):
            return (*ADAPTER_FILES, *MODEL_FILES)
        base = self.model.active_peft_config.base_model_name_or_path
        on_this_folder = base is not None and Path(base).is_dir() and Path(base).resolve() == folder.resolve()
        return ADAPTER_FILES if on_this_folder else (*ADAPTER_FILES, *MODEL_FILES)


class ResultNotSavedError(OSError):
    """The model has unlearned but could not be written; nothing is lost.

    Attributes:
        result: What `unlearn` would have returned; call `result.save(another_folder)`.
    """

    def __init__(self, result: UnlearnResult, cause: Exception):
        super().__init__(
            f"the model is trained but could not be saved to {str(result.output_dir)!r} ({getattr(cause, 'strerror', None) or cause}). "
            "It is in this exception's .result: call .result.save() on another folder."
        )
        self.result = result
