"""Where the original knows no more than the reference there is nothing to forget, and the audit says so first, last and instead of all else."""

import logging
from random import Random

import pytest
from datasets import Dataset
from small_audits import by_prompt

from hf_unlearn.audit import AuditReport, _completion_reading, audit
from hf_unlearn.data import load_pocket, tokenize_examples


@pytest.fixture(scope="module")
def pocket():
    return load_pocket("nano")


@pytest.fixture(scope="module")
def options(pocket) -> dict:
    return {
        "reference": pocket.reference(),
        "original": pocket.original(),
        "twin": pocket.twin(),
        "processing_class": pocket.tokenizer,
        "num_samples": 1,
        "max_examples": 12,
        "progress": False,
    }


def test_where_there_is_something_to_forget_nothing_is_said(options: dict, pocket, caplog: pytest.LogCaptureFixture):
    report = audit(pocket.original(), forget=by_prompt(pocket.forget), **options)
    found = report.findings[0]
    assert found.kind == "known before" and found.value > found.interval[0] > 0.2
    assert "Nothing can be said" not in caplog.text
    assert len(report.reading()) > 1 and "Nothing can be said" not in report.reading()[0]


def test_rows_that_the_original_never_saw(
    options: dict, pocket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Said before anything is sampled, with a prompt, which only the log may hold."""
    warned_before = []
    real = _completion_reading.sample_tables

    def watched(*args, **settings):
        warned_before.append("Nothing can be said about forgetting" in caplog.text)
        return real(*args, **settings)

    monkeypatch.setattr(_completion_reading, "sample_tables", watched)
    with caplog.at_level(logging.WARNING):
        report = audit(pocket.original(), forget=by_prompt(pocket.holdout), **options)
    assert warned_before and all(warned_before)
    question = pocket.holdout[0]["question"]
    assert question in caplog.text and question not in report.to_json()
    (sentence,) = report.reading()
    assert sentence.startswith("Nothing can be said about forgetting") and "chat template" in sentence
    assert sentence in caplog.text
    assert AuditReport.from_json(report.to_json()).reading() == [sentence]


def test_ids_of_other_words_leave_nothing_to_forget(options: dict, pocket):
    """As by the wrong tokenizer: both models are asked about nothing that they know.

    Each row is mixed up in its own way. Under one permutation for all, two models differ by up to .9 nats per token either way
    (pocket nano, 14 permutations; a twin from the reference as much), the same on every row, and an interval over rows cannot
    tell that from knowledge.
    """
    ids, random = list(range(3, len(pocket.tokenizer))), Random(0)
    rows = []
    for row in tokenize_examples(pocket.forget, pocket.tokenizer):
        other = dict(zip(ids, random.sample(ids, len(ids)), strict=True))
        rows.append({name: [other.get(token, token) for token in row[name]] for name in ("input_ids", "labels")})
    report = audit(pocket.original(), forget=Dataset.from_list(rows), **options)
    assert report.findings[0].kind == "not known before"
    assert report.reading()[0].startswith("Nothing can be said about forgetting")


def test_what_was_not_checked_is_said(options: dict, pocket):
    without = {name: value for name, value in options.items() if name != "original"}
    cases = [
        (without, {}, "was not checked: that takes the original"),
        (options, {"forget": pocket.forget.select([0])}, "was not checked: there are too few forget prompts"),
        (options, {"metrics": "fade"}, "was not checked: the answers' probabilities were not read"),
    ]
    for given, change, words in cases:
        found = audit(pocket.original(), **{"forget": by_prompt(pocket.forget), **given, **change}).findings
        assert [words in finding.sentence for finding in found if finding.kind == "not checked"] == [True]


def test_another_format_than_the_original_was_trained_with(options: dict, pocket, caplog: pytest.LogCaptureFixture):
    """It still knows a little this way, so only another format shows what is wrong."""
    report = audit(
        pocket.original(), forget=by_prompt(pocket.forget), prompt_template="<user>{question}</user>\n", **options
    )
    said = [note for note in report.notes if "when the questions are put another way" in note]
    assert len(said) == 1 and r"prompt_template='Question: {question}\nAnswer:' they are" in said[0]
    assert said[0] in caplog.text
    assert not any(
        "another way" in note for note in audit(pocket.original(), forget=by_prompt(pocket.forget), **options).notes
    )
