"""A way of unlearning with all its numbers: what a search finds, what `unlearn` takes, and what a file for its command holds."""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from peft import LoraConfig, PeftConfig
from transformers import PreTrainedTokenizerBase

from hf_unlearn._files import write_atomically
from hf_unlearn.config import UnlearnConfig, options_of
from hf_unlearn.data import DataLike
from hf_unlearn.inference import ModelLike
from hf_unlearn.training import UnlearnResult, unlearn


_OF_THE_FOLDER = {"base_model_name_or_path", "revision", "peft_version", "inference_mode", "auto_mapping"}
"""What PEFT notes in a configuration, and no user chooses."""


@dataclass(frozen=True)
class Recipe:
    """One way of unlearning.

    Attributes:
        config: All options of `unlearn`, the seed and the adapter's among them.
    """

    config: UnlearnConfig

    @property
    def objective(self) -> str:
        """Its name."""
        return str(self.config.objective)

    def apply(
        self,
        model: ModelLike,
        *,
        forget: DataLike,
        retain: DataLike,
        output_dir: str | os.PathLike,
        processing_class: PreTrainedTokenizerBase | str | None = None,
    ) -> UnlearnResult:
        """Unlearn this way.

        Args:
            model: As for `unlearn`; a loaded one is trained in place.
            forget: What must go.
            retain: What must stay.
            output_dir: Where the result goes.
            processing_class: The tokenizer; default: the one saved with the model.

        Returns:
            What `unlearn` returns. On the data, the model and the machine of the search its weights are those of the trial.
        """
        options = vars(self.config) | {"peft_config": copy.deepcopy(self.config.peft_config)}
        return unlearn(
            model,
            forget=forget,
            retain=retain,
            output_dir=output_dir,
            processing_class=processing_class,
            **options,
        )

    def options(self) -> dict[str, Any]:
        """What differs from the defaults, as `hf-unlearn unlearn --config` reads it.

        Raises:
            ValueError: An adapter that the command line cannot make.
        """
        found = {
            each.name: dict(value) if isinstance(value, Mapping) else value
            for each in options_of(UnlearnConfig)
            if each.cli is not None and (value := getattr(self.config, each.name)) != each.default
        }
        return found | lora_options(self.config.peft_config)

    def save(self, path: str | os.PathLike, inputs: Mapping[str, str] | None = None) -> None:
        """Write a YAML file for `hf-unlearn unlearn --config`.

        Args:
            path: Of the file.
            inputs: Model and data, where they are paths or ids.

        Raises:
            ValueError: An adapter that the command line cannot make.
            OSError: The file cannot be written.
        """
        text = yaml.safe_dump({**(inputs or {}), **self.options()}, sort_keys=False, allow_unicode=True)
        write_atomically(Path(path), lambda file: file.write_text(text, encoding="utf-8"))


def lora_options(peft_config: PeftConfig | None) -> dict[str, Any]:
    """An adapter as the options of the command that make it; nothing where there is none.

    Raises:
        ValueError: It is no LoRA, or has more to it than rank, scaling, dropout and target.
    """
    if peft_config is None:
        return {}
    targets = getattr(peft_config, "target_modules", None)
    # Text other than that word is a pattern, which the command line would take for the name of a module.
    if type(peft_config) is LoraConfig and (not isinstance(targets, str) or targets == "all-linear"):
        plain = LoraConfig(
            r=peft_config.r,
            lora_alpha=peft_config.lora_alpha,
            lora_dropout=peft_config.lora_dropout,
            target_modules=targets if targets is None or isinstance(targets, str) else sorted(targets),
            task_type="CAUSAL_LM",
        )
        if _choices(plain) == _choices(peft_config):
            whole = [targets] if isinstance(targets, str) else sorted(targets or ())
            given = {"lora_r": peft_config.r, "lora_alpha": peft_config.lora_alpha}
            given |= {"lora_dropout": peft_config.lora_dropout} if peft_config.lora_dropout else {}
            return given | ({"lora_target": whole} if whole else {})
    raise ValueError("the adapter is one that the command line cannot make; use Recipe.apply in Python.")


def _choices(peft_config: PeftConfig) -> dict[str, Any]:
    found = {name: value for name, value in peft_config.to_dict().items() if name not in _OF_THE_FOLDER}
    # Whether it was said or left out, the models here are causal language models.
    return found | {"task_type": None}
