"""Near-duplicates: what is found, what is not, and that it is what the definition says, by brute force."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.data import similar_rows
from hf_unlearn.data._near_duplicates import RECALL, _bands, word_ngrams


def jaccard(one: str, two: str) -> float:
    a, b = word_ngrams(one), word_ngrams(two)
    return len(a & b) / len(a | b)


def sentence(count: int, seed: int) -> list[str]:
    return [f"w{number}" for number in random.Random(seed).sample(range(100_000), count)]


@pytest.mark.parametrize(("length", "expected"), [(12, 7 / 13), (30, 25 / 31), (60, 55 / 61)])
def test_one_changed_word_costs_what_is_documented(length: int, expected: float):
    """Of w words w − 2 n-grams; a changed word in the middle takes 3 on both sides: (w − 5) / (w + 1)."""
    before = sentence(length, seed=1)
    after = [*before[:6], "typo", *before[7:]]
    (found,) = similar_rows([" ".join(after)], [" ".join(before)], expected)
    assert found.similarity == pytest.approx(expected)
    assert similar_rows([" ".join(after)], [" ".join(before)], expected + 0.01) == []


def test_case_punctuation_and_composition_do_not_count():
    assert similar_rows(["ELISE\u0301 lives, in Rome!"], ["elis\u00e9 lives in rome"], 1)[0].similarity == 1


def test_scripts_without_spaces_are_compared_by_character():
    (found,) = similar_rows(["猫は家の中で静かに眠っている"], ["猫は家の中で静かに座っている"], 0.5)
    assert found.similarity == pytest.approx(9 / 15)


def test_templates_filled_with_other_names_are_told_from_copies():
    """At the default of the docs a paraphrase template with another name stays where names are most of what differs."""
    row = "In which year was the painter {0} born and in which town did {0} spend the first years of life as a child of {1} parents"
    same, other = row.format("Ada Lamb", "poor"), row.format("Bo Reed", "rich")
    assert similar_rows([same + " ?", other], [same], 0.7) == [(0, 0, 1.0)]


def test_short_and_empty_texts():
    assert similar_rows(["", "?!", "yes", "Yes.", "yes no"], ["yes", "", "..."], 0.5) == [(2, 0, 1.0), (3, 0, 1.0)]
    assert similar_rows([], ["a"], 0.5) == similar_rows(["a"], [], 0.5) == []


def test_the_most_similar_and_of_equals_the_first_is_named():
    words = sentence(20, seed=2)
    near, nearer = [*words[:10], "x", *words[11:]], [*words[:-1], "x"]
    texts = [" ".join(each) for each in (near, nearer, nearer)]
    assert similar_rows([" ".join(words)], texts, 0.5)[0].other == 1


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_pairs_at_the_threshold_are_proposed_as_often_as_promised(threshold: float):
    """By the formula of banding; and larger bands would not do."""
    bands, size = _bands(threshold)
    assert 1 - (1 - threshold**size) ** bands >= RECALL


def test_what_is_found_is_what_brute_force_finds():
    """120 rows against 30 others with one to nine words changed. Each pair at 0.5 or above is missed with probability 0.01 or less, and those
    that are not barely above it with far less: more than two of them missing has a probability of about 1e-3 at the very worst."""
    generator = random.Random(0)
    others = [" ".join(sentence(25, seed)) for seed in range(30)]
    rows = []
    for at in range(120):
        words = others[at % 30].split()
        for place in generator.sample(range(25), 1 + at % 9):
            words[place] = "changed"
        rows.append(" ".join(words))
    expected = {row: max(jaccard(text, other) for other in others) for row, text in enumerate(rows)}
    expected = {row: value for row, value in expected.items() if value >= 0.5}
    found = {match.row: match.similarity for match in similar_rows(rows, others, 0.5)}
    assert found.items() <= expected.items() and len(expected) - len(found) <= 2 and len(expected) > 20


@given(st.lists(st.text("ab c", max_size=12), max_size=6), st.lists(st.text("ab c", max_size=12), max_size=6))
def test_nothing_below_the_threshold_is_ever_returned(rows: list[str], others: list[str]):
    for row, other, similarity in similar_rows(rows, others, 0.4):
        assert similarity == jaccard(rows[row], others[other]) >= 0.4


@pytest.mark.parametrize("threshold", [0, 1.1, float("nan")])
def test_a_threshold_that_is_none_is_refused(threshold: float):
    with pytest.raises(ValueError, match="threshold must be"):
        similar_rows(["a"], ["a"], threshold)
