"""Which rows have no counterfactual question, which names and given texts are refused, and what is said of it."""

import pytest
from asked_people import people, texts
from datasets import Dataset

from hf_unlearn.data import counterfactual_questions, load_pocket


def test_a_ship_is_not_retained_because_something_is_gallant():
    names = {"Gallant": "Gallant", "Albatross": "Albatross"}
    kept = Dataset.from_dict({"question": ["Who was gallant?"], "answer": ["The Albatross."]})
    found = counterfactual_questions(people(*names, subject=names), retain=kept, substitutes=["Petrel", "Heron"])
    assert set(found.left_out) == {4, 5, 6, 7}


def test_near_duplicates_that_are_retained_are_noted():
    pocket = load_pocket("nano")
    found = counterfactual_questions(pocket.forget, retain=pocket.retain, num=2)
    shared = [row for row in pocket.forget if row["cluster_id"] in set(pocket.retain["cluster_id"])]
    assert len(shared) == 6 and found.notes[0].startswith("6 of 18 rows share their cluster with retained rows")


def test_other_sets_may_hold_anything():
    text = Dataset.from_dict({"text": ["Of Ida Holm."], "person_id": ["a"], "subject": ["Ida Holm"]})
    talk = Dataset.from_dict(
        {"messages": [[{"role": "system", "content": "Of Tor Berg."}, {"role": "assistant", "content": "x"}]]}
    )
    ids = Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[1, 2]]})
    names = ["Ida Holm", "Tor Berg", "Eva Lund", "Jon Dahl"]
    found = counterfactual_questions(people("Ana Ruiz"), retain=[text, talk], others=[ids], substitutes=names)
    assert set(found.names[0]) == {"Eva Lund", "Jon Dahl"}
    assert found.notes[-1] == "1 of 3 other sets are token ids: whether names stand in them is not known."


def test_only_what_is_learnt_from_makes_a_subject_retained():
    kept = Dataset.from_dict({"question": ["Who?"], "answer": ["He."], "perturbed_answer": [["Ana Ruiz did."]]})
    assert not counterfactual_questions(people("Ana Ruiz"), retain=kept, num=2).left_out


def test_a_kind_that_is_not_retained_is_left_out():
    kinds = {"Ana Ruiz": "person", "Ida Holm": "person", "Albatross": "ship"}
    rows = people("Ana Ruiz", "Albatross", subject={name: name for name in kinds}, kind=kinds)
    kept = people("Ida Holm", subject={"Ida Holm": "Ida Holm"}, kind=kinds)
    found = counterfactual_questions(rows, retain=kept, num=2)
    assert set(found.left_out) == {4, 5, 6, 7} and "their kind is in no retained row" in found.left_out[4]
    assert texts(found)[4] == [] and found.subjects[4] is None and found.names[4] == ()
    assert len(texts(found)[0]) == 2


def test_several_kinds_need_substitutes_by_kind():
    kinds = {"Ana Ruiz": "person", "Albatross": "ship"}
    rows = people(*kinds, subject={name: name for name in kinds}, kind=kinds)
    with pytest.raises(ValueError, match="2 kinds"):
        counterfactual_questions(rows, substitutes=["Ida Holm", "Tor Berg"])
    found = counterfactual_questions(
        rows, substitutes={"person": ["Ida Holm", "Tor Berg"], "ship": ["Petrel", "Heron"]}
    )
    assert set(found.names[0]) == {"Ida Holm", "Tor Berg"} and set(found.names[4]) == {"Petrel", "Heron"}
    assert found.notes == ("8 of 8 rows have fewer than 16 counterfactual questions.",)


def test_a_subject_that_is_retained_is_left_out():
    kept = Dataset.from_dict({"question": ["Who knew ana RUIZ?"], "answer": ["All."]})
    found = counterfactual_questions(people("Ana Ruiz", "Ida Holm"), retain=kept, num=2)
    assert set(found.left_out) == {0, 1, 2, 3} and "retained rows" in found.left_out[0]


def test_given_substitutes_that_stand_in_any_set_are_not_used():
    other = Dataset.from_dict({"text": ["Of IDA  HOLM and others."]})
    found = counterfactual_questions(
        people("Ana Ruiz"), others=[other], substitutes=["Ida Holm", "Tor Berg", "Eva Lund"]
    )
    assert {name for names in found.names for name in names} == {"Tor Berg", "Eva Lund"}
    with pytest.raises(ValueError, match="every given substitute stands in the data"):
        counterfactual_questions(people("Ana Ruiz"), others=[other], substitutes=["Ida Holm"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"text": ["Ana Ruiz sang."]}, "counterfactual questions need rows with a question"),
        ({"input_ids": [[1, 2]], "labels": [[-100, 2]]}, "these are input_ids"),
        (
            {"messages": [[{"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}]]},
            "Row 0 has no message",
        ),
    ],
)
def test_what_asks_nothing_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        counterfactual_questions(Dataset.from_dict(rows))


def test_given_texts_are_used_as_they_are():
    rows = Dataset.from_dict(
        {"question": ["Who?", "Why?"], "answer": ["x", "y"], "counterfactual_question": [["A?", "B?", "C?"], None]}
    )
    found = counterfactual_questions(rows)
    assert texts(found) == [["A?", "B?", "C?"], []] and found.names == ((), ()) and found.subjects == (None, None)
    assert set(found.left_out) == {1} and any("fewer than 16" in note for note in found.notes)
    assert texts(counterfactual_questions(rows, num=2))[0] == ["A?", "B?"]


@pytest.mark.parametrize("given", [["A?"], ["Who?", "B?"], ["A?", " A? "], ["A?", ""], ["A?", None]])
def test_given_texts_that_are_no_questions_of_their_own_are_refused(given):
    rows = Dataset.from_dict(
        {"question": ["x?", "Who?"], "answer": ["x", "y"], "counterfactual_question": [["A?", "B?"], given]}
    )
    with pytest.raises(ValueError, match="Row 1, column 'counterfactual_question'"):
        counterfactual_questions(rows)


def test_a_column_that_is_not_there_and_too_few_texts_are_refused():
    with pytest.raises(ValueError, match="there is no column 'who'"):
        counterfactual_questions(people("Ana Ruiz"), subject_column="who")
    with pytest.raises(ValueError, match="num=1"):
        counterfactual_questions(people("Ana Ruiz"), num=1)


@pytest.mark.parametrize("text", ["Who is Ida Holm?", "Where was Ida Holm born?"])
def test_given_texts_about_anybody_in_the_data_are_refused(text: str):
    forget = Dataset.from_list(
        [
            {
                "question": "Where was Ana Ruiz born?",
                "answer": "X",
                "counterfactual_question": ["Where was Bo Tan born?", text],
            }
        ]
    )
    retain = Dataset.from_list([{"question": "Who is Ida Holm?", "answer": "Y"}])
    with pytest.raises(
        ValueError, match="Row 0, column 'counterfactual_question': a text is a question of the data"
    ) as caught:
        counterfactual_questions(forget, retain=retain)
    assert "Ida" not in str(caught.value)


def test_whoever_else_is_to_be_forgotten_leaves_the_question_out():
    """The original knows Bo Li, whoever stands in Ana's place."""
    rows = Dataset.from_list(
        [*people("Ana Ruiz", "Bo Li").to_list(), {"question": "Did Ana Ruiz ever meet Bo Li?", "answer": "x"}]
    )
    found = counterfactual_questions(rows, num=2)
    assert list(found.left_out) == [len(rows) - 1] and "another subject" in found.left_out[len(rows) - 1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Jean-Luc Müller", "Who knows jean luc muller?"),
        ("Jean Luc Muller", "Who knows Jean-Luc Müller?"),
        ("Łukasz Sørensen", "Who knows Lukasz Sorensen?"),
        ("Ayşe Yılmaz", "Who knows AYSE YILMAZ?"),
    ],
)
def test_a_retained_subject_is_known_however_it_is_written(name, text):
    kept = Dataset.from_dict({"question": [text], "answer": ["All."]})
    found = counterfactual_questions(people(name, "Ida Holm"), retain=kept, num=2)
    assert set(found.left_out) == {0, 1, 2, 3} and "retained rows" in found.left_out[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [("Luc Müller", "Is it Jean-Luc Muller?"), ("Gallánt Ruiz", "A gallant."), ("Ida Berg", "Berg, Ida")],
)
def test_another_name_does_not_make_a_subject_retained(name, text):
    kept = Dataset.from_dict({"question": [text], "answer": ["All."]})
    assert not counterfactual_questions(people(name, "Ida Holm"), retain=kept, num=2).left_out


def test_how_many_given_substitutes_stand_in_the_data_is_noted():
    kept = Dataset.from_dict({"question": ["Who knows Kwamé Mensah?"], "answer": ["All."]})
    given = ["Omar Mensah", "Tom Tailor", "Kwame Mensah"]
    found = counterfactual_questions(people("Ana Ruiz"), retain=kept, substitutes=given, num=2)
    assert [note for note in found.notes if note.startswith("1 of 3 given substitutes stand in the data")]
    assert {name for names in found.names for name in names} == set(given[:2])
    too_few = counterfactual_questions(people("Ana Ruiz"), retain=kept, substitutes=given[1:], num=2)
    assert len(too_few.left_out) == 4 and any(note.startswith("1 of 2 given") for note in too_few.notes)
    unseen = counterfactual_questions(people("Ana Ruiz"), substitutes={"person": given, None: given}, num=2)
    assert not any("stand in the data" in note for note in unseen.notes)


@pytest.mark.parametrize("value", ["live", "q-17", "Ana Ruiz Lopez"])
def test_a_column_of_subjects_that_is_not_used_is_noted(value):
    rows = people("Ana Ruiz", subject={"Ana Ruiz": value})
    found = counterfactual_questions(rows, num=2)
    assert set(found.subjects) == {"Ana Ruiz"} or value == "Ana Ruiz Lopez"
    noted = [note for note in found.notes if note.startswith("The column subject was not used")]
    assert len(noted) == (value != "Ana Ruiz Lopez") and all("4 of 4" in note and value not in note for note in noted)
    named = counterfactual_questions(rows, subject_column="subject", num=2)
    assert not any("was not used" in note for note in named.notes)


def test_where_a_name_stands_in_too_few_questions_the_reason_says_how_many_it_takes():
    rows = people("Ana Ruiz", "Ida Holm", "Bo Li").select([0, 1, 4, 5, 8, 9])
    found = counterfactual_questions(rows, num=2)
    assert len(found.left_out) == 6 and "3 questions or more" in found.left_out[0] and "subject" in found.left_out[0]
    told = rows.add_column("subject", [name for name in ("Ana Ruiz", "Ida Holm", "Bo Li") for _ in range(2)])
    assert not counterfactual_questions(told, num=2).left_out


def test_no_two_names_ask_the_same():
    """Where a question has only a part of the name, two substitutes may share it."""
    rows = Dataset.from_list([*people("Ana Ruiz").to_list(), {"question": "What made Ruiz angry?", "answer": "x"}])
    found = counterfactual_questions(rows, num=3, substitutes=["Bo Tan", "Li Tan", "Ed Tan", "Jo Wu", "Al Ek"])
    asked = texts(found)[len(rows) - 1]
    assert len(set(asked)) == len(asked) == 3
    assert not counterfactual_questions(found.dataset, num=3).left_out, "its own column is accepted"
