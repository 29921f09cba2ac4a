"""A recipe as a file: whatever `unlearn` can be told on the command line, and nothing else."""

from pathlib import Path

import pytest
import yaml
from peft import IA3Config, LoraConfig

from hf_unlearn.config import UnlearnConfig
from hf_unlearn.tuning import Recipe
from hf_unlearn.tuning._recipe import lora_options


def test_what_differs_from_the_defaults_is_written(tmp_path: Path):
    config = UnlearnConfig(objective="simnpo", objective_options={"beta": 0.123456789012345}, learning_rate=3.3e-05, max_steps=7, prompt_template="Ф: {question}\n")  # fmt: skip
    Recipe(config).save(tmp_path / "best.yaml", {"model": "me/model"})
    found = yaml.safe_load((tmp_path / "best.yaml").read_text(encoding="utf-8"))
    assert found == {"model": "me/model", "objective": "simnpo", "objective_options": {"beta": 0.123456789012345}, "learning_rate": 3.3e-05,
                     "max_steps": 7, "prompt_template": "Ф: {question}\n"}  # fmt: skip


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (None, {}),
        (LoraConfig(r=4, lora_alpha=8), {"lora_r": 4, "lora_alpha": 8}),
        (LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", target_modules="all-linear"), {"lora_r": 4, "lora_alpha": 8, "lora_target": ["all-linear"]}),
        (LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["b", "a"]), {"lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "lora_target": ["a", "b"]}),
    ],
)  # fmt: skip
def test_lora_as_options(adapter: LoraConfig | None, expected: dict):
    assert lora_options(adapter) == expected


@pytest.mark.parametrize(
    "adapter",
    [LoraConfig(r=4, use_rslora=True), LoraConfig(r=4, init_lora_weights="pissa"), LoraConfig(r=4, modules_to_save=["lm_head"]), LoraConfig(r=4, target_modules=".*q_proj"), IA3Config()],
)  # fmt: skip
def test_an_adapter_that_options_cannot_make_is_no_file(adapter, tmp_path: Path):
    with pytest.raises(ValueError, match="command line cannot make"):
        Recipe(UnlearnConfig(peft_config=adapter)).save(tmp_path / "best.yaml")
    assert not (tmp_path / "best.yaml").exists()
