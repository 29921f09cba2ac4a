"""Entities of answers without a model: names, numbers, dates; and how many of them come again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import CapitalisedEntities, EntityCoverage, entity_coverage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The author's full name is Hsiao Yun-Hwa.", ["Hsiao Yun-Hwa"]),
        ("In Skagway in 1997.", ["Skagway", "1997"]),
        ("Skagway was the place. She left it.", ["Skagway"]),
        ("Mail a.b@c.in or 780 Lotus Court, New Delhi", ["Mail", "a.b@c.in", "780", "Lotus Court", "New Delhi"]),
        ("Born 05/11/1991; cost 1,000.5; a B2B firm", ["Born", "05/11/1991", "1,000.5", "B2B"]),
        ("Émile Zola’s Germinal — Ångström", ["Émile Zola", "Germinal", "Ångström"]),
        ("Анна живёт в Киеве", ["Анна", "Киеве"]),
        ("她出生于 1990 年", ["1990"]),
        ("It is I. He does not know.", []),
        ("Rome, Rome and Rome", ["Rome"]),
        ("", []),
    ],
)
def test_capitalised_words_and_numbers(text: str, expected: list[str]):
    assert CapitalisedEntities().entities(text) == expected


@given(st.text(max_size=80) | st.text(alphabet="aAé0\u0301\u0308 .'’-1,@İßﬁ२㍘", max_size=15))
def test_a_text_has_all_of_its_own_entities(text: str):
    found = entity_coverage(text, text)
    assert found.covered == found.total


@pytest.mark.parametrize(
    ("truth", "said", "question", "covered", "total"),
    [
        ("In Skagway in 1997.", "in skagway, I think", "Where and when was Quilla born?", 1, 2),
        ("Anna Petrova lives in Oslo", "in Oslo", "Where does Anna Petrova live?", 1, 1),
        ("Elena Petrova", "Elena Petrova", "Who is Anna Petrova's mother?", 1, 1),
        ("New Delhi", "Delhi is new", "Where?", 0, 1),
        ("Rome", "Romeo", "Where?", 0, 1),
        ("Rome", "", "Where?", 0, 1),
        ("the colour is red", "red", "Which?", 0, 0),
    ],
)
def test_coverage_is_of_what_the_question_does_not_say(truth: str, said: str, question: str, covered: int, total: int):
    assert entity_coverage(truth, said, question) == EntityCoverage(covered, total)


def test_compatible_drops_what_shares_a_word_with_the_question():
    question = "Who is Anna Petrova's mother?"
    assert entity_coverage("Elena Petrova of Oslo", "Oslo", question, compatible=True) == EntityCoverage(1, 1)


def test_any_object_may_find_entities():
    class Colours:
        def entities(self, text: str) -> set[str]:
            return {"red", "blue"} & set(text.split())

    assert entity_coverage("red and blue", "a blue one", "", Colours()) == EntityCoverage(1, 2)
    assert EntityCoverage(0, 0).share is None and EntityCoverage(1, 4).share == 0.25
