"""Counterfactual questions: found subjects, substitutes that stand nowhere, what is left out and why, the same on every machine."""

import json
import re
from collections import Counter

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn.data import counterfactual_questions, load_pocket, renamed
from hf_unlearn.data._names import name_parts
from hf_unlearn.data._seen_names import SeenNames


ASKED = ("Where was {} born?", "What did {} win?", "Did {}'s parents sing?", "Who taught {}?")


def people(*names, **columns):
    rows = [
        {
            "question": asked.format(name),
            "answer": f"{name} did.",
            **{key: value[name] for key, value in columns.items()},
        }
        for name in names
        for asked in ASKED
    ]
    return Dataset.from_list(rows)


def texts(found):
    return found.dataset["counterfactual_question"]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("forget", "retain", "full"),
    [("forget01", "retain99", 38), ("forget05", "retain95", 189), ("forget10", "retain90", 377)],
)
def test_tofu_works_out_of_the_box(shared_data, forget, retain, full):
    """Of forget10's 400 questions 377 hold the author's full name, and two more only the last one."""
    folder = f"{shared_data / 'tofu'}:"
    found = counterfactual_questions(folder + forget, retain=folder + retain, num=4)
    rows = found.dataset
    named = [name is not None and name in row["question"] for name, row in zip(found.subjects, rows, strict=True)]
    assert sum(named) == full
    assert len(set(found.subjects) - {None}) == len(rows) // 20
    assert len(rows) - len(found.left_out) == full + {"forget01": 0, "forget05": 1, "forget10": 2}[forget]
    for block in range(0, len(rows), 20):
        assert len(set(found.subjects[block : block + 20]) - {None}) == 1, "one author every 20 rows"
    for subject, question, asked, names in zip(
        found.subjects, rows["question"], texts(found), found.names, strict=True
    ):
        assert len(asked) == len(set(asked)) == len(names) == (0 if subject is None else 4)
        assert all(name_parts(subject)[-1] not in text for text in asked)
        assert all(
            renamed(text, name, subject) == question or "s' " in question
            for text, name in zip(asked, names, strict=True)
        )


@pytest.mark.parametrize("size", ["nano", "small"])
def test_pocket_recombines_names_into_pairs_that_nobody_has(size):
    pocket = load_pocket(size)
    found = counterfactual_questions(pocket.forget, retain=pocket.retain, others=[pocket.holdout], num=32)
    everything = [
        text
        for part in (pocket.retain, pocket.forget, pocket.holdout)
        for row in part
        for text in row.values()
        if isinstance(text, str)
    ]
    seen = SeenNames(everything)
    assert not found.left_out and all(len(set(names)) == 32 for names in found.names)
    for name in {name for names in found.names for name in names}:
        assert name not in seen and all(part in seen for part in name.split())
    assert len(set(found.names)) == len(found.names), "each row draws its own"


def test_without_a_kind_the_ships_are_left_out_for_want_of_names():
    pocket = load_pocket("nano")
    plain = pocket.forget_ood.remove_columns(
        [name for name in ("kind", "subject") if name in pocket.forget_ood.column_names]
    )
    found = counterfactual_questions(plain, others=[pocket.holdout])
    assert set(found.left_out) == set(range(len(plain))) and "of one word" in found.left_out[0]
    given = counterfactual_questions(plain, num=2, substitutes=["Fulmar", "Petrel", "Heron"])
    assert not given.left_out and set(given.subjects) == {"Albatross", "Halcyon", "Juniper"}
    assert {name for names in given.names for name in names} <= {"Fulmar", "Petrel", "Heron"}


def test_the_same_seed_gives_the_same_names_on_every_machine():
    rows = people("Ana Ruiz", "Omar bin Said")
    found = counterfactual_questions(rows, num=2, seed=3)
    assert found.names[0] == ("Lorcan Hagiwara", "Karlis Bianchi")
    assert found.names[7] == ("Beatriz Ilunga", "Ivana Sundqvist")
    assert counterfactual_questions(rows, num=2, seed=3).names == found.names
    assert counterfactual_questions(rows, num=2, seed=4).names != found.names


@pytest.mark.parametrize(
    ("name", "subject", "parts"),
    [
        ("Maria de la Cruz", "Maria de la Cruz", 2),
        ("Omar bin Said", "Omar bin Said", 2),
        ("Hafsa Al Mansouri", "Hafsa Al Mansouri", 2),
        ("Dr. Ana B. Ruiz-Lopez", "Ana B. Ruiz-Lopez", 3),
        ("Edward Patrick Sullivan", "Edward Patrick Sullivan", 3),
        ("Le Van Minh", "Le Van Minh", 2),
        ("J.K. Holm", "J.K. Holm", 2),
        ("J. K. Holm", "J. K. Holm", 3),
        ("Martin Lund Jr.", "Martin Lund Jr.", 3),
    ],
)
def test_names_are_found_whole(name, subject, parts):
    found = counterfactual_questions(people("Ida Berg", name), num=2)
    assert found.subjects == ("Ida Berg",) * 4 + (subject,) * 4
    assert all(len(drawn.split()) == parts for names in found.names[4:] for drawn in names)
    assert texts(found)[4] == [f"Where was {name.replace(subject, drawn)} born?" for drawn in found.names[4]]


@pytest.mark.shared_data
def test_knowundos_people_are_found_but_stay_in_what_is_retained(shared_data):
    """Its 110 private questions are about the people of its 108 retained ones: nobody is exchangeable who is still taught."""
    sets = []
    for name in ("privacy_unlearn_val", "privacy_retention_val"):
        rows = json.loads((shared_data / "knowundo" / f"{name}.json").read_text())
        sets.append(
            Dataset.from_dict({"question": [row["text"] for row in rows], "answer": [row["labels"] for row in rows]})
        )
    forget, retain = sets
    found = counterfactual_questions(forget, others=[retain], num=2)
    assert len(found.left_out) == 3 and len(set(found.subjects) - {None}) == 54
    kept = counterfactual_questions(forget, retain=retain, num=2)
    assert len(kept.left_out) == 110
    assert (
        Counter(kept.left_out.values())[
            "the subject's name stands in retained rows, so that a retrained model would know it too"
        ]
        == 107
    )


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (
            (
                "Welche Bücher hat {} geschrieben?",
                "Wo lebt {}?",
                "Welche Bücher mag {}?",
                "Welche Bücher hat {} verbrannt?",
            ),
            "Ana Ruiz",
        ),
        (("Where did {} live?", "May {} sing?", "When may {} go?"), "May Chen"),
        (("Did author {} sing?", "Is Author {} well?", "Where is Author {}?", "Who met Author {}?"), "Ana Ruiz"),
        (("{} was born in", "{} won", "The parents of {}"), "Ana Ruiz"),
        (("WHERE IS {}?", "Who is {}?", "Where was {} born?", "Did {}’s mother sing?"), "Zoë O’Brien-Lund"),
    ],
)
def test_the_words_around_a_name_are_no_part_of_it(asked, name):
    rows = [{"question": text.format(other), "answer": "x"} for other in (name, "Omar Said") for text in asked]
    found = counterfactual_questions(Dataset.from_list(rows), num=2)
    assert found.subjects == (name,) * len(asked) + ("Omar Said",) * len(asked)


def test_words_of_scripts_without_capitals_are_no_names_by_themselves():
    rows = Dataset.from_dict(
        {"question": ["أين ولد أحمد منصور؟", "أين ولد أحمد منصور إذن؟", "أين ولد سالم حداد؟"], "answer": ["x"] * 3}
    )
    found = counterfactual_questions(rows, substitutes=["كريم نور", "ليلى حسن"])
    assert set(found.left_out) == {0, 1, 2} and "column" in found.left_out[0]
    named = rows.add_column("subject", ["أحمد منصور", "أحمد منصور", "سالم حداد"])
    found = counterfactual_questions(named, substitutes=["كريم نور", "ليلى حسن"])
    assert not found.left_out and set(texts(found)[0]) == {"أين ولد كريم نور؟", "أين ولد ليلى حسن؟"}


def test_a_substitute_without_a_partner_for_a_part_does_not_stand_where_the_part_does():
    rows = people("Ana Bo Ruiz").add_item({"question": "What did Ana Bo Ruiz say?", "answer": "Bo said no."})
    found = counterfactual_questions(rows, substitutes=["Ida Holm", "Tor Berg", "Ida Mo Holm", "Eva Li Lund"])
    assert set(found.names[0]) == {"Ida Holm", "Tor Berg", "Ida Mo Holm", "Eva Li Lund"}
    assert set(found.names[4]) == {"Ida Mo Holm", "Eva Li Lund"}, "the answer says Bo"


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


_PARTS = st.lists(
    st.from_regex(r"[A-ZÉØ][a-zéø]{2,7}", fullmatch=True), min_size=8, max_size=8, unique_by=str.casefold
)


@settings(max_examples=12)
@given(parts=_PARTS, num=st.integers(2, 6), seed=st.integers(0, 5), kind=st.sampled_from([None, "person"]))
def test_whatever_the_names_substitutes_are_new_and_give_way_again(parts, num, seed, kind):
    names = [f"{parts[at]} {parts[at + 1]}" for at in range(0, 6, 2)]
    subject = {name: name for name in names}
    rows = people(*names, subject=subject, **({"kind": dict.fromkeys(names, kind)} if kind else {}))
    found = counterfactual_questions(
        rows, num=num, seed=seed, others=[Dataset.from_dict({"text": [" ".join(parts[6:])]})]
    )
    seen = SeenNames([*(text for row in rows for text in row.values() if text), *parts[6:]])
    for row, subject, asked, names in zip(rows, found.subjects, texts(found), found.names, strict=True):
        assert len(set(asked)) == len(set(names)) == num
        assert not any(part in seen for name in names for part in (name, *name.split()))
        assert [renamed(text, name, subject) for text, name in zip(asked, names, strict=True)] == [
            row["question"]
        ] * num


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


def test_a_part_alone_is_replaced_and_one_that_two_subjects_share_is_left_out():
    rows = [
        *people("Ana Ruiz", "Tor Ruiz").to_list(),
        {"question": "What made Ruiz angry?", "answer": "x"},
        {"question": "What made Ana angry?", "answer": "x"},
        {"question": "Where is Ruiz Square?", "answer": "x"},
        {"question": "Did Ana Ruiz know Tor Ruiz?", "answer": "x"},
    ]
    found = counterfactual_questions(Dataset.from_list(rows), num=2)
    assert {at: re.split("[,;]", why)[0] for at, why in found.left_out.items()} == {
        8: "the question holds only a part of a name that several subjects share",
        10: "no name of a subject was found in the question",
        11: "the question also names another subject of the forget set",
    }
    assert found.subjects[9] == "Ana Ruiz"
    assert texts(found)[9] == [f"What made {name.split()[0]} angry?" for name in found.names[9]]


def test_a_column_names_whom_a_question_does_not_name_by_a_place():
    asked = [
        "Who was born in Santiago, Chile?",
        "Is Santiago Square his?",
        "Who met Mr. Santiago?",
        "Who met Omar Santiago?",
    ]
    rows = Dataset.from_dict({"question": asked, "answer": ["x"] * 4, "subject": ["Omar M. Santiago"] * 4})
    found = counterfactual_questions(rows, num=2)
    assert {at: "does not name" in why for at, why in found.left_out.items()} == {0: True, 1: True}
    assert texts(found)[3] == [f"Who met {name.split()[0]} {name.split()[2]}?" for name in found.names[3]]


def test_a_place_and_a_name_of_another_set_are_no_part_of_a_subjects_name():
    rows = Dataset.from_list(
        [
            *people("Ana Cruz", "Omar Santiago").to_list(),
            {"question": "Who was born in Santiago, Chile?", "answer": "x"},
            {"question": "Who knew Holm?", "answer": "x"},
            {"question": "Who knew Santiago?", "answer": "x"},
        ]
    )
    found = counterfactual_questions(rows, others=[people("Ida Holm", "Eva Santiago Lund")], num=2)
    assert found.subjects[8:] == (None, None, "Omar Santiago")


@pytest.mark.parametrize("column", ["person_id", "cluster_id", "subject"])
def test_a_cluster_column_tells_which_questions_share_a_name(column):
    names = {"Ana Ruiz": "a", "Halcyon": "b", "Ольга Зимина": "c"}
    found = counterfactual_questions(
        people(*names, **{column: names}), num=2, substitutes=["Ida Holm", "Tor Berg", "Petrel"]
    )
    assert Counter(found.subjects) == dict.fromkeys(names, 4)


def test_other_scripts_need_given_names():
    rows = people("Ольга Зимина", "Иван Петров")
    found = counterfactual_questions(rows)
    assert len(found.left_out) == 8 and "script" in found.left_out[0]
    given = counterfactual_questions(rows, num=2, substitutes=["Пётр Орлов", "Анна Белова"])
    assert not given.left_out and "Where was Пётр Орлов born?" in texts(given)[0]


def test_prompts_and_conversations():
    asked = [asked.format("Ana Ruiz") for asked in ASKED]
    plain = Dataset.from_dict({"prompt": asked, "completion": ["x"] * 4})
    talks = [
        [
            {"role": "system", "content": "Ana Ruiz is secret." if at == 3 else "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": text},
            {"role": "assistant", "content": "x"},
        ]
        for at, text in enumerate(asked)
    ]
    ours, theirs = counterfactual_questions(plain), counterfactual_questions(Dataset.from_dict({"messages": talks}))
    assert texts(theirs)[:3] == texts(ours)[:3] and texts(ours)[3]
    assert "earlier messages" in theirs.left_out[3] and len(theirs.left_out) == 1


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


def test_notes_and_reasons_quote_neither_names_nor_questions(caplog):
    rows = [*people("Ana Ruiz", "Tor Ruiz").to_list(), {"question": "What made Ruiz angry?", "answer": "x"}]
    with caplog.at_level("INFO", "hf_unlearn"):
        found = counterfactual_questions(Dataset.from_list(rows))
    said = " ".join([*found.notes, *found.left_out.values(), caplog.text])
    assert "1 of 9 rows" in said and "rows [8]" in said
    assert not any(word in said for word in ("Ruiz", "Ana", "angry"))


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


def test_no_question_keeps_a_part_of_the_name_in_another_spelling():
    rows = people("Jean-Luc Müller", subject={"Jean-Luc Müller": "Jean-Luc Müller"}).to_list()
    rows[1]["question"] = "Did Jean-Luc Muller win?"
    found = counterfactual_questions(Dataset.from_list(rows), num=2)
    assert set(found.left_out) == {1} and not any("uller" in text for asked in texts(found) for text in asked)


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
