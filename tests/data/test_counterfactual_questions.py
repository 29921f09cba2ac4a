"""Counterfactual questions: found subjects, substitutes that stand nowhere, what is left out and why, the same on every machine."""

import json
import re
from collections import Counter

import pytest
from asked_people import ASKED, people, texts
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn.data import counterfactual_questions, load_pocket, renamed
from hf_unlearn.data._names import name_parts
from hf_unlearn.data._seen_names import SeenNames


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


def test_notes_and_reasons_quote_neither_names_nor_questions(caplog):
    rows = [*people("Ana Ruiz", "Tor Ruiz").to_list(), {"question": "What made Ruiz angry?", "answer": "x"}]
    with caplog.at_level("INFO", "hf_unlearn"):
        found = counterfactual_questions(Dataset.from_list(rows))
    said = " ".join([*found.notes, *found.left_out.values(), caplog.text])
    assert "1 of 9 rows" in said and "rows [8]" in said
    assert not any(word in said for word in ("Ruiz", "Ana", "angry"))


def test_no_question_keeps_a_part_of_the_name_in_another_spelling():
    rows = people("Jean-Luc Müller", subject={"Jean-Luc Müller": "Jean-Luc Müller"}).to_list()
    rows[1]["question"] = "Did Jean-Luc Muller win?"
    found = counterfactual_questions(Dataset.from_list(rows), num=2)
    assert set(found.left_out) == {1} and not any("uller" in text for asked in texts(found) for text in asked)
