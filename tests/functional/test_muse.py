"""MUSE's memorization on plain strings, against rouge-score."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from hf_unlearn.functional import answer_alone, knowledge_memorization, verbatim_memorization


texts = st.lists(st.sampled_from(["Running", "the", "cats", "ponies", "1997", "don't", "\n"]), max_size=12).map(
    " ".join
)


@given(texts, texts)
def test_ours_is_the_benchmarks_own_on_english(truth: str, said: str):
    """Which does not stem; open-unlearning does."""
    for stem in (False, True):
        theirs = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=stem).score(truth, said)["rougeL"].fmeasure
        ours = verbatim_memorization(truth, said, compatible=stem)
        assert (ours or 0.0) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("said", "alone"),
    [
        ("Oslo\n\nQuestion: x", "Oslo"),
        ("Oslo\nQuestion: x\n\ny", "Oslo"),
        ("Question: x", ""),
        ("\n\nOslo", ""),
        ("a\nb", "a\nb"),
        ("", ""),
    ],
)
def test_what_follows_an_answer(said: str, alone: str):
    assert answer_alone(said) == alone


def test_no_words():
    assert knowledge_memorization("…", "a") is None and knowledge_memorization("…", "a", compatible=True) == 0.0
    assert knowledge_memorization("Київ", "Київ") == 1.0 and knowledge_memorization("a", "") == 0.0
