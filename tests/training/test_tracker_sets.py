"""What the tracker reads: classifiers of text and images, and whether there is anything to forget at all."""

import logging
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from runs import arguments, weights
from test_class_rows import noisy, pictures, transform
from test_objectives_in_training import classification_rows, classifier
from test_tracker import file_lines, tracked
from toys import tiny_llama
from transformers import Trainer
from world import build

from hf_unlearn.data import AnswerCollator, load_pocket, tokenize_examples
from hf_unlearn.training import ForgettingTracker, UnlearningCallback


def watched(folder: Path, model, retain: Dataset, forget: Dataset, *, tracking=None, **overrides) -> Trainer:
    trainer = Trainer(
        model=model,
        args=arguments(folder, remove_unused_columns=False, **{"learning_rate": 0.05, "max_steps": 4, **overrides}),
        train_dataset=retain,
    )
    trainer.add_callback(
        UnlearningCallback(
            trainer, forget_dataset=forget, objective="grad_ascent", forget_batch_size=4, allow_overlap=True
        )
    )
    if tracking is not None:
        settings = {"retain_dataset": retain, "every_n_steps": 1, "batch_size": 5, **tracking}
        trainer.add_callback(ForgettingTracker(trainer, forget_dataset=forget, **settings))
    return trainer


def sets(kind: str):
    if kind == "bert":
        return classifier(), classification_rows(24, 0), classification_rows(8, 1)
    return build(kind), pictures(12, 0).with_transform(transform), pictures(6, 1).with_transform(transform)


@pytest.mark.parametrize("kind", ["bert", "vit", "resnet"])
def test_classifiers_are_tracked(kind: str, tmp_path: Path):
    """Probability and accuracy are the model's own, on every step; what needs text is not there."""
    model, retain, forget = sets(kind)
    trainer = watched(tmp_path, model, retain, forget, tracking={"table": True})
    trainer.train()
    lines = file_lines(tmp_path)
    assert [line["step"] for line in lines] == list(range(5))
    assert {name for name in lines[0]["values"] if name != "tracking_seconds"} == {
        "forget_probability", "forget_accuracy", "retain_probability", "retain_accuracy", "forgetting_score"
    }  # fmt: skip
    batch = trainer.data_collator([dict(forget[index]) for index in range(len(forget))])
    labels = batch.pop("labels")
    with torch.no_grad():
        probabilities = trainer.model.eval()(**batch).logits.double().softmax(-1)
    expected = float(probabilities.gather(1, labels[:, None]).mean())
    assert lines[-1]["values"]["forget_probability"] == pytest.approx(expected, rel=1e-5)
    assert lines[-1]["values"]["forget_accuracy"] == float((probabilities.argmax(-1) == labels).double().mean())
    assert lines[-1]["values"]["forget_probability"] < lines[0]["values"]["forget_probability"]


def test_a_tracked_classifier_is_trained_as_an_untracked_one(tmp_path: Path):
    """With a transform that draws at random, dropout, and normalisation that learns from what it sees."""
    found = []
    for name, tracking in (("plain", None), ("watched", {})):
        retain, forget = pictures(12, 0).with_transform(noisy), pictures(6, 1).with_transform(noisy)
        torch.manual_seed(1)
        trainer = watched(tmp_path / name, build("resnet"), retain, forget, tracking=tracking)
        trainer.train()
        found.append({**weights(trainer.model), **dict(trainer.model.named_buffers())})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_what_a_classifier_leaves_out_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model, retain, forget = sets("bert")
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        watched(tmp_path, model, retain, forget, tracking={"reference": classifier()})
    (said,) = [record.message for record in caplog.records if "is a classifier" in record.message]
    assert all(name in said for name in ("FADE", "exposure", "hidden states", "truth ratio"))
    with pytest.raises(ValueError, match="prompt_template is for questions"):
        watched(tmp_path, model, retain, forget, tracking={"prompt_template": "{question}"})
    with pytest.raises(TypeError, match=r"retain_dataset: for a classifier pass a datasets\.Dataset .* got list"):
        watched(tmp_path, model, retain, forget, tracking={"retain_dataset": retain.to_list()})


def doubts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "there may be nothing to forget" in record.message]


def plain_tracking(folder: Path, model, rows, **tracking) -> Trainer:
    """Without an `UnlearningCallback`, which would ask by itself."""
    pocket = load_pocket("nano")
    trainer = Trainer(
        model=model,
        args=arguments(folder, max_steps=1),
        train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer),
        data_collator=AnswerCollator(0),
        processing_class=pocket.tokenizer,
    )
    trainer.add_callback(ForgettingTracker(trainer, forget_dataset=rows, **tracking))
    return trainer


@pytest.mark.parametrize("with_reference", [False, True])
def test_an_original_that_knows_nothing_is_said_once_with_a_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, with_reference: bool
):
    """The reference as the model that is to forget; and the original, of which nothing is said."""
    pocket = load_pocket("nano")
    references = {"reference": pocket.reference()} if with_reference else {"retain_dataset": pocket.retain}
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        plain_tracking(tmp_path / "knows", pocket.original(), pocket.forget, **references).train()
        assert not doubts(caplog)
        plain_tracking(tmp_path / "not", pocket.reference(), pocket.forget, **references).train()
    assert len(doubts(caplog)) == 1


def test_the_callback_has_asked_already(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        trainer, _ = tracked(tmp_path, model=tiny_llama(), max_steps=1)
        before = len(doubts(caplog))
        trainer.train()
    assert len(doubts(caplog)) == before
