"""Checkpoints whose files name weights otherwise than the model does: nothing of them is left out."""

from pathlib import Path

import pytest
import torch
import world
from recipes import Kill, Recipe, people, same, tokenizer
from runs import examples, largest_difference, trainer_with_callback, weights
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from hf_unlearn import NPO, retrain
from hf_unlearn.training._checkpoint_weights import load_what_is_named_otherwise


RENAMED = ["gpt_neox", "mixtral"]


@pytest.mark.parametrize("name", RENAMED)
def test_an_interrupted_retraining_has_every_weight_of_its_checkpoint(name: str, tmp_path: Path):
    world.build(name, vocab_size=len(tokenizer())).save_pretrained(tmp_path / "base")
    options = {"without": people("Cai", "Gus"), "seeds": [0]}
    whole = retrain(Recipe(tmp_path / "base"), people(), output_dir=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        retrain(Recipe(tmp_path / "base", callbacks=[Kill(3)]), people(), output_dir=tmp_path / "cut", **options)
    again = retrain(Recipe(tmp_path / "base"), people(), output_dir=tmp_path / "cut", **options)
    assert same(whole.reference, again.reference) and not same(whole.reference, tmp_path / "base")


def run(name: str, folder: Path, **overrides):
    settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2, **overrides}
    options = {"objective": NPO(beta=0.3)}
    return trainer_with_callback(folder, model=world.build(name, vocab_size=97), options=options, **settings)[0]


@pytest.mark.parametrize("name", RENAMED)
def test_a_resumed_unlearning_has_every_weight_of_its_checkpoint(name: str, tmp_path: Path):
    whole, again = run(name, tmp_path), run(name, tmp_path)
    whole.train()
    before = list(again.callback_handler.callbacks)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert largest_difference(weights(whole.model), weights(again.model)) == 0
    assert again.callback_handler.callbacks == before


@pytest.mark.parametrize("name", [*RENAMED, "llama_tied"])
def test_the_best_checkpoint_is_loaded_whole(name: str, tmp_path: Path):
    """The best is what has forgotten least here, which is the first."""
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    trained = run(name, tmp_path, evaluated=examples(11, seed=2), eval_strategy="steps", eval_steps=1, **best)
    trained.train()
    assert Path(trained.state.best_model_checkpoint).name == "checkpoint-1"
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-1")
    assert largest_difference(weights(saved), weights(trained.model)) == 0


def test_a_checkpoint_that_lacks_weights_is_refused_and_a_whole_one_changes_nothing(tmp_path: Path):
    model = world.build("gpt_neox")
    model.save_pretrained(tmp_path)
    before = weights(model)
    load_what_is_named_otherwise(model, tmp_path)
    assert largest_difference(before, weights(model)) == 0
    kept = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in kept.items() if "layers.1." not in name},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ValueError, match=r"lacks .* of the model's weights, such as gpt_neox\.layers\.1"):
        load_what_is_named_otherwise(model, tmp_path)


def test_tied_weights_are_written_once_and_not_missed(tmp_path: Path):
    model = world.build("llama_tied")
    model.save_pretrained(tmp_path)
    other = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        other.lm_head.weight += 1
    changed = weights(other)
    load_what_is_named_otherwise(other, tmp_path)
    assert largest_difference(changed, weights(other)) == 0
