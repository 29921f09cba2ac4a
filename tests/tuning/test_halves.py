"""A set in two halves: nothing is lost, nobody is in both, and the seed alone decides."""

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn.data import pocket_tokenizer
from hf_unlearn.tuning._halves import halves


TOKENIZER = pocket_tokenizer()


def rows(people: list[int], questions: list[str] | None = None) -> Dataset:
    texts = questions or [f"who is {place}" for place in range(len(people))]
    return Dataset.from_dict({"question": texts, "answer": ["a"] * len(people), "person_id": list(map(str, people))})


@settings(max_examples=20)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.integers(0, 3))
def test_people_are_in_one_half_and_all_rows_in_either(people: list[int], seed: int):
    data = rows(people)
    searched, other = halves(data, TOKENIZER, seed=seed)
    assert other is not None  # prompts differ, so even one person can be divided
    assert sorted([*searched["question"], *other["question"]]) == sorted(data["question"])
    if len(set(people)) > 1:
        assert not set(searched["person_id"]) & set(other["person_id"])
        largest = max(people.count(person) for person in people)
        assert abs(len(searched) - len(other)) <= largest
    again, _ = halves(data, TOKENIZER, seed=seed)
    assert again["question"] == searched["question"]


def test_equal_people_make_equal_halves_and_seeds_make_others():
    data = rows([person for person in range(8) for _ in range(3)])
    parts = {tuple(sorted(set(halves(data, TOKENIZER, seed=seed)[0]["person_id"]))) for seed in range(6)}
    assert len(parts) > 1 and all(len(part) == 4 for part in parts)


def test_people_who_are_asked_the_same_question_stay_together():
    data = rows([1, 1, 2, 3], ["a", "b", "b", "c"])
    searched, other = halves(data, TOKENIZER, seed=0)
    assert {frozenset(searched["person_id"]), frozenset(other["person_id"])} == {frozenset("12"), frozenset("3")}


def test_one_prompt_has_no_halves():
    data = rows([1, 2], ["a", "a"])
    searched, other = halves(data, TOKENIZER, seed=0)
    assert other is None and len(searched) == 2


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no cluster column 'team'"):
        halves(rows([1, 2]), TOKENIZER, seed=0, cluster_column="team")


def test_running_text_is_divided_by_text():
    data = Dataset.from_dict({"text": ["one text", "another", "one text"]})
    searched, other = halves(data, TOKENIZER, seed=0)
    assert other is not None and not set(searched["text"]) & set(other["text"])
