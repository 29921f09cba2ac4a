"""ROUGE against rouge-score, by hand, and on texts that rouge-score has no words for."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from hf_unlearn.functional import Rouge, common_subsequence, rouge_1, rouge_l, words


VOCABULARY = [
    "Running",
    "the",
    "cats",
    "ponies",
    "flies",
    "a",
    "1997",
    "don't",
    "x-y",
    "café",
    "élan",
    "…",
    "été2",
    "你好",
    "\n",
]
texts = st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)
anything = st.text(max_size=60)


def expected(truth: str, given_: str, kind: str, *, stem: bool) -> list[float]:
    score = rouge_scorer.RougeScorer([kind], use_stemmer=stem).score(truth, given_)[kind]
    return [score.recall, score.precision, score.fmeasure]


@given(texts | anything, texts | anything, st.booleans())
def test_compatible_is_rouge_score(truth: str, other: str, stem: bool):
    for kind, ours in (("rougeL", rouge_l), ("rouge1", rouge_1)):
        found = ours(truth, other, stem=stem, compatible=True)
        assert [found.recall, found.precision, found.f_measure] == pytest.approx(
            expected(truth, other, kind, stem=stem), abs=1e-12
        )


@given(st.text(st.characters(max_codepoint=127), max_size=80), st.booleans())
def test_on_ascii_both_ways_have_the_same_words(text: str, stem: bool):
    assert words(text, stem=stem) == words(text, stem=stem, compatible=True)


@given(st.lists(st.integers(0, 4).map(str), max_size=70), st.lists(st.integers(0, 4).map(str), max_size=70))
def test_the_longest_common_subsequence_is_that_of_the_table(one: list[str], other: list[str]):
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for row, mine in enumerate(one, 1):
        for column, theirs in enumerate(other, 1):
            same = table[row - 1, column - 1] + 1
            table[row, column] = same if mine == theirs else max(table[row - 1, column], table[row, column - 1])
    assert common_subsequence(one, other) == table[-1, -1]


@given(anything)
def test_a_text_is_all_of_itself(text: str):
    found = rouge_l(text, text)
    assert found is None if not words(text) else found == Rouge(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("truth", "other", "recall"),
    [
        ("Она родилась в Киеве.", "В Киеве она родилась", 0.5),
        ("她出生在北京", "她在北京", 4 / 6),
        ("Zoë Åkesson", "Zoe\u0308 A\u030akesson", 1.0),
        ("naïve café", "nave caf", 0.0),
        ("हिन्दी भाषा", "भाषा हिन्दी", 0.5),
        ("ＡＢＣ １２", "abc 12", 1.0),
        ("STRASSE", "Straße", 1.0),
        ("北京 2008 Olympics", "Olympic 2008", 0.25),
    ],
)
def test_words_of_every_script_count(truth: str, other: str, recall: float):
    assert rouge_l(truth, other).recall == pytest.approx(recall)


def test_a_mark_belongs_to_the_letter_before_it():
    assert words("点\u0308 x") == ["点\u0308", "x"]
    assert words("点 \u0308x") == ["点", "x"]


@pytest.mark.parametrize("truth", ["", " \n", "…!?", "🙂🙂", "\u0301"])
def test_a_true_answer_without_words_has_no_value(truth: str):
    assert rouge_l(truth, "anything") is None and rouge_1(truth, "") is None
    assert rouge_l(truth, "anything", compatible=True) == Rouge(0.0, 0.0, 0.0)


def test_an_empty_answer_has_nothing():
    assert rouge_l("a word", "") == rouge_1("a word", "…") == Rouge(0.0, 0.0, 0.0)


def test_answers_of_a_hundred_thousand_characters_take_seconds():
    generator = np.random.default_rng(0)
    one, other = (" ".join(f"w{number}" for number in generator.integers(0, 3000, 20_000)) for _ in range(2))
    assert min(len(one), len(other)) > 100_000
    start = time.process_time()
    found = rouge_l(one, other)
    assert time.process_time() - start < 10, "the table of rouge-score has 4e8 cells here"
    assert found.recall == common_subsequence(one.split(), other.split()) / 20_000


@pytest.mark.shared_data
@pytest.mark.parametrize(("model", "forget"), [("full", 0.98545), ("retain90", 0.40824)])
def test_published_logs_of_tofu_row_by_row(shared_data: Path, model: str, forget: float):
    logs = json.loads((shared_data / "tofu_gold_logs" / f"llama2-7b_{model}_wd0.01.json").read_text())
    rows = 0
    for log in logs.values():
        for number, (_, said, truth) in log["generated_text"].items():
            assert rouge_l(truth, said, compatible=True).recall == log["rougeL_recall"][number]
            assert rouge_1(truth, said, compatible=True).recall == log["rouge1_recall"][number]
            rows += 1
    assert rows == 817
    answers = logs["eval_log_forget.json"]["generated_text"].values()
    assert np.mean([rouge_l(truth, said).recall for _, said, truth in answers]) == pytest.approx(forget, abs=5e-6)
