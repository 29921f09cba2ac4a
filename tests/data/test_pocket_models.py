"""Pocket's models: trained once, kept whole or not at all, and as far from each other as the benchmark promises."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_unlearn.data import AnswerCollator, load_pocket, tokenize_examples
from hf_unlearn.data import _pocket as pocket_module
from hf_unlearn.data import _pocket_models as models_module
from hf_unlearn.functional import answer_mask, answer_positions, step_divergence, token_log_probs
from hf_unlearn.inference import share_starting_weights


def predictions(model, rows, tokenizer):
    batch = AnswerCollator(tokenizer.pad_token_id)(list(tokenize_examples(rows, tokenizer)))
    with torch.no_grad():
        return model(**batch).logits, batch["labels"]


def answer_probability(model, rows, tokenizer):
    logits, labels = predictions(model, rows, tokenizer)
    return (token_log_probs(logits, labels).sum(-1) / answer_mask(labels).sum(-1)).exp().mean().item()


def distance(first, second, rows, tokenizer):
    """Symmetric exact divergence along the true answers, nats per answer: a rough stand-in for FADE."""
    (p, labels), (q, _) = (predictions(model, rows, tokenizer) for model in (first, second))
    row, position, _ = answer_positions(labels)
    p, q = p[row, position], q[row, position]
    return ((step_divergence(p, q) + step_divergence(q, p)).sum() / len(rows)).item()


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A nano benchmark that trains for one epoch into an empty cache, and the trainings in their order."""
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))
    size = pocket_module._SIZES["nano"]
    recipe = replace(
        size.recipe, base=replace(size.recipe.base, num_epochs=1), tuning=replace(size.recipe.tuning, num_epochs=1)
    )
    monkeypatch.setitem(pocket_module._SIZES, "nano", replace(size, recipe=recipe))
    trained = []
    train = models_module._train
    monkeypatch.setattr(models_module, "_train", lambda *args: trained.append(args[1]) or train(*args))
    return load_pocket("nano"), trained


def test_the_models_are_what_the_benchmark_promises(nano):
    original, reference = nano.original(), nano.reference()
    tokenizer = nano.tokenizer
    assert answer_probability(original, nano.forget, tokenizer) > 0.85
    assert answer_probability(original, nano.forget_ood, tokenizer) > 0.85
    for model in (original, reference):
        assert not model.training
        assert answer_probability(model, nano.retain, tokenizer) > 0.85
        assert answer_probability(model, nano.holdout, tokenizer) < 0.3
    assert answer_probability(reference, nano.forget, tokenizer) < 0.5
    assert answer_probability(reference, nano.forget_ood, tokenizer) < 0.1


def test_two_references_are_closer_than_the_original(nano):
    reference = nano.reference()
    for rows in (nano.forget, nano.forget_ood):
        start = distance(nano.original(), reference, rows, nano.tokenizer)
        assert 0 < distance(nano.twin(), reference, rows, nano.tokenizer) < 0.15 * start
        assert 0 < distance(nano.stranger(), reference, rows, nano.tokenizer) < 0.5 * start


def test_the_base_knows_how_people_are_told_about_and_nobody_of_the_splits(nano):
    """The words and how they follow each other: far better than chance, which is 1 in 1000 for each token."""
    for rows in (nano.retain, nano.forget, nano.holdout):
        assert 0.05 < answer_probability(nano.base(), rows, nano.tokenizer) < 0.35
    assert answer_probability(nano.base(), nano.forget_ood, nano.tokenizer) < 0.1


def test_the_twin_shares_its_base_and_the_stranger_does_not(nano):
    reference = nano.reference()
    for model in (nano.base(), nano.original(), nano.twin()):
        assert share_starting_weights(reference, model)
    assert not share_starting_weights(reference, nano.stranger())


def test_a_model_is_trained_once_and_read_back(quick):
    pocket, trained = quick
    first, again = pocket.reference(), load_pocket("nano").reference()
    assert [training.role for training in trained] == ["base", "reference"]
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    folders = [path for path in models_module.cache_folder().iterdir() if path.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        assert {"model.safetensors", "config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}


def test_roles_are_kept_apart(quick):
    pocket, trained = quick
    models = [pocket.original(), pocket.reference(), pocket.twin(), pocket.stranger(), pocket.base()]
    far = pocket_module._TWIN_OFFSET
    assert [(training.role, training.order_seed) for training in trained] == [
        ("base", 0), ("original", 0), ("reference", 0), ("twin", far), ("base", far), ("stranger", far),
    ]  # fmt: skip
    assert [training.start for training in trained if training.role == "base"] == [0, far]
    bases = [training.start.order_seed for training in trained if training.role != "base"]
    assert bases == [0, 0, 0, far]
    for first, second in itertools.combinations(models, 2):
        assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_training_is_reproducible(quick, monkeypatch, tmp_path):
    pocket, trained = quick
    first = pocket.reference().lm_head.weight
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "elsewhere"))
    assert torch.equal(first, pocket.reference().lm_head.weight)
    assert len(trained) == 4


def test_the_random_state_of_the_caller_is_untouched(quick):
    pocket, _ = quick
    for _ in range(2):  # trained, then read
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        pocket.reference()
        drawn = random.random(), np.random.rand(), torch.rand(1).item()
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())


def test_nothing_is_printed(quick, capfd):
    pocket, _ = quick
    pocket.reference()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_failed_training_leaves_nothing_behind(quick, monkeypatch):
    pocket, _ = quick
    monkeypatch.setattr(models_module, "_train", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pocket.reference()
    assert [path.name for path in models_module.cache_folder().iterdir() if not path.name.endswith(".lock")] == []


def test_an_incomplete_folder_is_replaced(quick):
    pocket, trained = quick
    pocket.reference()
    (weights,) = models_module.cache_folder().glob("reference-*/model.safetensors")
    weights.unlink()
    pocket.reference()
    assert [training.role for training in trained] == ["base", "reference", "reference"]
    assert weights.is_file()


def test_several_processes_do_not_train(quick, monkeypatch):
    pocket, _ = quick
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"pocket benchmark's reference model .* single process"):
        pocket.reference()


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path))
    assert models_module.cache_folder() == tmp_path / "pocket"
    monkeypatch.delenv("HF_UNLEARN_CACHE")
    assert models_module.cache_folder().parts[-2:] == ("hf_unlearn", "pocket")
