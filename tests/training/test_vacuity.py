"""Nothing to forget is said before training: wrong format, wrong model, wrong labels; and nothing is said where all is well."""

import copy
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from runs import arguments
from transformers import Trainer
from world import build

from hf_unlearn import UnlearningCallback
from hf_unlearn.data import AnswerCollator, Pocket, load_pocket, other_formats, tokenize_examples
from hf_unlearn.inference import load_model, saved_tokenizer
from hf_unlearn.training._knowledge import mean_log_probs, sample_of
from hf_unlearn.training._retain_examples import tokenized_examples
from hf_unlearn.training._vacuity import MAX_PROMPTS, _Gain, warn_if_unknown, warn_if_unknown_in


DOUBT = "there may be nothing to forget"


@pytest.fixture
def pocket() -> Pocket:
    return load_pocket("nano")


def check(pocket: Pocket, model, *, template: str | None = None, retain: bool = True, **options):
    sets = {
        name: tokenize_examples(getattr(pocket, name), pocket.tokenizer, prompt_template=template).to_list()
        for name in ("forget", "retain")
    }
    return warn_if_unknown(
        model,
        sets["forget"],
        batch_size=16,
        retain=sets["retain"] if retain else (),
        rows=pocket.forget,
        tokenizer=pocket.tokenizer,
        prompt_template=template,
        **options,
    )


@pytest.mark.parametrize("retain", [True, False])
def test_a_model_that_knows_is_not_doubted(retain: bool, pocket: Pocket, caplog: pytest.LogCaptureFixture):
    """About 1 nat per token lies between the own and the nearest other prompt; .3 is asked for."""
    found = check(pocket, pocket.original(), retain=retain)
    assert found.clear
    assert found.advantage > 0.3
    assert caplog.text == ""


def test_a_model_that_never_saw_the_rows(pocket: Pocket, caplog: pytest.LogCaptureFixture):
    """It gives their own prompts to retain answers about 1 nat per token, to forget answers .2; one row is shown, in the log only."""
    check(pocket, pocket.reference())
    assert caplog.text.count(DOUBT) == 1
    assert "far less likely than the retain answers" in caplog.text
    assert f"<bos>Question: {pocket.forget[0]['question']}" in caplog.text
    assert "prompt_template=" not in caplog.text


def test_a_random_model(pocket: Pocket, caplog: pytest.LogCaptureFixture):
    found = check(pocket, build("llama", vocab_size=len(pocket.tokenizer), max_position_embeddings=128))
    assert not found.clear
    assert DOUBT in caplog.text


@pytest.mark.parametrize("template", ["<user>{question}</user>\n", "{question}"])
def test_another_format_than_the_model_was_trained_with(
    template: str, pocket: Pocket, caplog: pytest.LogCaptureFixture
):
    check(pocket, pocket.original(), template=template)
    assert r"prompt_template='Question: {question}\nAnswer:' they are" in caplog.text
    assert caplog.text.count("Was it trained with that format?") == 1


def test_a_chat_template_that_the_model_was_not_trained_with(pocket: Pocket, caplog: pytest.LogCaptureFixture):
    pocket.tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"
    check(pocket, pocket.original())
    assert "when the questions are put another way" in caplog.text


def test_against_a_reference(pocket: Pocket, caplog: pytest.LogCaptureFixture):
    examples = tokenize_examples(pocket.forget, pocket.tokenizer).to_list()
    original, reference = (
        mean_log_probs(model, examples, batch_size=16) for model in (pocket.original(), pocket.reference())
    )
    found = check(pocket, pocket.original(), reference_log_probs=reference)
    assert found.advantage == pytest.approx((original - reference).mean())
    assert caplog.text == ""
    check(pocket, pocket.reference(), reference_log_probs=reference)
    assert "0.00 nats per token more than the reference gives them" in caplog.text


@pytest.mark.parametrize(
    "rows", [{"text": ["a b", "c d", "e f"]}, {"prompt": ["a"] * 3, "completion": ["b", "c", "d"]}]
)
def test_rows_that_allow_no_comparison(rows: dict, pocket: Pocket, caplog: pytest.LogCaptureFixture):
    examples = tokenize_examples(Dataset.from_dict(rows), pocket.tokenizer).to_list()
    with caplog.at_level(logging.INFO, logger="hf_unlearn"):
        assert warn_if_unknown(pocket.original(), examples, batch_size=4) is None
    assert "was not checked" in caplog.text


def test_a_classifier_is_compared_with_guessing(caplog: pytest.LogCaptureFixture):
    """Labels that the model itself gives are known; labels that it does not give are not."""
    model = build("bert")
    ids = torch.randint(3, 20, (12, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = model(input_ids=ids).logits
    best, worst = answers.argmax(-1).tolist(), answers.argmin(-1).tolist()

    def collate(rows):
        return {name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "labels")}

    for labels, clear in ((best, True), (worst, False)):
        rows = [{"input_ids": row, "labels": label} for row, label in zip(ids.tolist(), labels, strict=True)]
        assert warn_if_unknown(model, rows, batch_size=5, class_collator=collate).clear is clear
        assert (DOUBT in caplog.text) is not clear
    assert "nats less than guessing gives them" in caplog.text and "order of the labels" in caplog.text
    assert "template" not in caplog.text


def test_the_model_s_own_folder_has_a_chat_template(pocket: Pocket, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """It renders what the model was trained with; the tokenizer that was given has none, and the template in use is another."""
    pocket.original().save_pretrained(tmp_path)
    saved = copy.deepcopy(pocket.tokenizer)
    saved.chat_template = "{{ bos_token }}Question: {{ messages[0].content }}\nAnswer:{% if messages[1:] %} {{ messages[1].content }}{% endif %}"
    saved.save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    ways = other_formats(pocket.forget, (), pocket.tokenizer, saved=saved_tokenizer(model))
    assert any("the model's own folder" in name for name in ways)
    check(pocket, model, template="<user>{question}</user>\n")
    assert "Was it trained with that format?" in caplog.text


def test_answers_that_repeat_the_question(
    pocket: Pocket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Own prompts help as much as on the retain answers, and still the answers are far less likely than those."""
    examples = tokenize_examples(pocket.forget, pocket.tokenizer).to_list()
    others = tokenize_examples(pocket.retain, pocket.tokenizer).to_list()
    gains = iter(
        _Gain(np.full(8, own) + np.linspace(0, 0.1, 8), np.full(8, own - 2.0), np.arange(8)) for own in (-2.1, -0.1)
    )
    monkeypatch.setattr("hf_unlearn.training._vacuity._gain", lambda *args: next(gains))
    warn_if_unknown(pocket.original(), examples, batch_size=8, retain=others)
    assert DOUBT in caplog.text and "knows the retain answers far better (-0.05 nats per token)" in caplog.text


@pytest.mark.parametrize("name", ["assistant_masks", "completion_mask", "labels"])
def test_packed_rows_are_read_one_by_one(name: str):
    marks = [0, 1, 0, 0, 1, 1] if name != "labels" else [-100, 2, -100, -100, 5, 6]
    packed = Dataset.from_dict({"input_ids": [[1, 2, 3, 4, 5, 6]], name: [marks], "seq_lengths": [[2, 4]]})
    assert tokenized_examples(packed, MAX_PROMPTS) == [
        {"input_ids": [1, 2], "labels": [-100, 2]},
        {"input_ids": [3, 4, 5, 6], "labels": [-100, -100, 5, 6]},
    ]


def trainer_of(pocket: Pocket, model, tmp_path: Path) -> Trainer:
    return Trainer(
        model=model,
        args=arguments(tmp_path),
        train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer),
        data_collator=AnswerCollator(0),
        processing_class=pocket.tokenizer,
    )


def test_the_callback_asks_first_and_leaves_no_trace(pocket: Pocket, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    known = UnlearningCallback(trainer_of(pocket, pocket.original(), tmp_path), forget_dataset=pocket.forget)
    assert known.prior_knowledge.clear
    assert DOUBT not in caplog.text
    model = pocket.reference().train()
    state = torch.get_rng_state()
    UnlearningCallback(trainer_of(pocket, model, tmp_path), forget_dataset=pocket.forget, objective="grad_ascent")
    assert DOUBT in caplog.text
    assert model.training
    assert torch.equal(state, torch.get_rng_state())


def test_a_check_that_fails_forbids_nothing(
    pocket: Pocket, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def broken(*args, **kwargs):
        raise RuntimeError("no such luck")

    callback = UnlearningCallback(trainer_of(pocket, pocket.original(), tmp_path), forget_dataset=pocket.forget)
    monkeypatch.setattr("hf_unlearn.training._vacuity.mean_log_probs", broken)
    assert warn_if_unknown_in(callback.loss.compute, callback.forget) is None
    assert "could not be checked: no such luck" in caplog.text


def test_samples_are_spread_and_bounded():
    assert sample_of(range(5), 64) == [0, 1, 2, 3, 4]
    assert sample_of(range(1000), 3) == [0, 500, 999]
    assert len(np.unique(sample_of(range(1000), 64))) == 64
