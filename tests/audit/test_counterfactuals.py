"""Counterfactual questions of an audit's sets: tokenized as the sets are, halved between stand-in and floor, silent about names."""

import pytest
from datasets import Dataset

from hf_unlearn.audit._audit_set import AuditSet
from hf_unlearn.audit.domains._counterfactuals import load_counterfactuals
from hf_unlearn.audit.domains._text_splits import load_splits
from hf_unlearn.data import counterfactual_questions, load_pocket, pocket_tokenizer
from hf_unlearn.functional import IGNORE_INDEX


CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
ASKED = ("Where was {} born?", "What did {} win?", "Did {}'s parents sing?")
NAMES = ("Ida Holm", "Tor Berg", "Eva Lund", "Jon Dahl")


def rows(*names, form="question"):
    pairs = [(asked.format(name), f"{name} did.") for name in names for asked in ASKED]
    if form == "question":
        return Dataset.from_list([{"question": question, "answer": answer} for question, answer in pairs])
    if form == "completion":
        return Dataset.from_list([{"prompt": question, "completion": answer} for question, answer in pairs])
    talk = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs]
    return Dataset.from_dict({"messages": talk})


def loaded(forget, *, chat=False, template=None, num=2, max_examples=100, substitutes=NAMES, seed=0, **others):
    tokenizer = pocket_tokenizer()
    tokenizer.chat_template = CHAT if chat else None
    splits = load_splits({"forget": forget, **others}, tokenizer, max_examples, 0, False, template)
    found, notes = load_counterfactuals(
        splits["forget"], splits, tokenizer, num=num, seed=seed, substitutes=substitutes
    )
    return splits["forget"], found, notes, tokenizer


@pytest.mark.parametrize(
    ("form", "chat", "template"),
    [
        ("question", False, None),
        ("question", True, None),
        ("question", True, "Q {question} A{answer} end"),
        ("completion", False, None),
        ("messages", True, None),
    ],
)
def test_with_the_subjects_own_name_back_in_place_the_tokens_are_the_sets_own(form, chat, template):
    """Each counterfactual, decoded and renamed back, is the example; where that is so for text it is so for template and end token."""
    split, found, notes, tokenizer = loaded(rows("Ana Ruiz", form=form), chat=chat, template=template)
    assert len(found) == 12 and not notes
    for one in found:
        own = split.examples[one.example]
        text, back = tokenizer.decode(one.tokens["input_ids"]), tokenizer.decode(own["input_ids"])
        name = next(name for name in NAMES if name in text)
        assert text.replace(name, "Ana Ruiz") == back
        assert text.count(name) == 2 and "Ruiz" not in text
        assert tuple(one.tokens["input_ids"][: len(one.prompt)]) == one.prompt
        labels = [label for label in one.tokens["labels"] if label != IGNORE_INDEX]
        assert one.tokens["labels"] == [IGNORE_INDEX] * len(one.prompt) + labels
        assert tokenizer.decode(one.prompt).replace(name, "Ana Ruiz") == tokenizer.decode(split.prompts[one.example])


def test_each_row_has_as_many_names_for_the_stand_in_as_for_the_floor_and_none_on_both_sides():
    split, found, _, _ = loaded(rows("Ana Ruiz", "Omar Said"), num=5, substitutes=None)
    for example in range(len(split)):
        mine = [one for one in found if one.example == example]
        assert [(one.number, one.is_floor) for one in mine] == [(at % 5, at >= 5) for at in range(10)]
        assert len({one.prompt for one in mine}) == 10
    assert loaded(rows("Ana Ruiz", "Omar Said"), num=5, substitutes=None)[1] == found
    assert loaded(rows("Ana Ruiz", "Omar Said"), num=5, substitutes=None, seed=1)[1] != found


def test_fewer_names_than_wanted_are_halved_and_noted():
    _, found, notes, _ = loaded(rows("Ana Ruiz"), num=8, substitutes=NAMES[:3])
    assert [(one.number, one.is_floor) for one in found[:2]] == [(0, False), (0, True)] and len(found) == 6
    assert notes == ["forget: 3 of 3 rows have fewer than 16 counterfactual questions."]


@pytest.mark.parametrize("half", [0, 1])
def test_of_sets_that_are_parts_of_larger_ones_no_name_stands_in_the_whole(half):
    pocket = load_pocket("small")
    whole = {"forget": pocket.forget, "retain": pocket.retain}
    mine = {name: set(sorted(set(rows["subject"]))[half::2]) for name, rows in whole.items()}
    parts = {
        name: rows.select([at for at, subject in enumerate(rows["subject"]) if subject in mine[name]])
        for name, rows in whole.items()
    }
    known = {name for rows in (*whole.values(), pocket.holdout) for name in rows["subject"]}

    def known_in(**options):
        splits = load_splits(parts | {"holdout": pocket.holdout}, pocket.tokenizer, 100, 0, True, **options)
        found, _ = load_counterfactuals(splits["forget"], splits, pocket.tokenizer, num=8, seed=0)
        assert {one.subject for one in found} == mine["forget"]
        return {name for one in found for name in known if name in pocket.tokenizer.decode(one.prompt)}

    assert known_in()  # from a part alone others of the whole are taken for nobody
    assert not known_in(whole=whole)


def test_what_retained_rows_know_is_looked_for_in_all_of_them():
    forget, retain = rows("Ana Ruiz", "Omar Said"), rows("Kim Lo", "Omar Said")
    parts = {"forget": forget, "retain": retain.select(range(3))}
    splits = load_splits(parts, pocket_tokenizer(), 100, 0, True, whole={"retain": retain})
    found, notes = load_counterfactuals(splits["forget"], splits, pocket_tokenizer(), num=2, seed=0, substitutes=NAMES)
    assert {one.subject for one in found} == {"Ana Ruiz"} and {one.example for one in found} == {0, 1, 2}
    assert "3 of 6 rows" in notes[0] and "a retrained model would know" in notes[0]
    # What is measured is still the part.
    assert len(splits["retain"]) == splits["retain"].total == 3


def test_names_of_rows_that_the_audit_does_not_draw_are_not_used():
    kept = Dataset.from_dict(
        {"question": ["Who?"] * 30 + ["Who is Ida Holm?"], "answer": [f"{at}." for at in range(31)]}
    )
    forget = rows("Ana Ruiz", "Tor Berg")
    split, found, _, tokenizer = loaded(forget, retain=kept, max_examples=2, num=1)
    assert len(split) == 2 and split.whole.num_rows == 6
    said = " ".join(tokenizer.decode(one.prompt) for one in found)
    assert found and not any(name in said for name in ("Ida Holm", "Tor Berg", "Ana Ruiz"))


def test_given_texts_are_halved_and_leave_the_answer_as_it_is():
    given = rows("Ana Ruiz").add_column(
        "counterfactual_question", [["A?", "B?", "C?", "D?", "E?"], None, ["F?", "G?"]]
    )
    split, found, notes, tokenizer = loaded(given, num=8)
    texts = [(one.example, one.number, one.is_floor, tokenizer.decode(one.prompt)[-11:]) for one in found]
    ends = [
        (0, 0, False, "A"),
        (0, 1, False, "B"),
        (0, 0, True, "C"),
        (0, 1, True, "D"),
        (2, 0, False, "F"),
        (2, 0, True, "G"),
    ]
    assert texts == [(*place, f" {letter}?\nAnswer:"[-11:]) for *place, letter in ends]
    answers = [one.tokens["input_ids"][len(one.prompt) :] for one in found]
    assert all(
        answer == split.examples[one.example]["input_ids"][len(split.prompts[one.example]) :]
        for answer, one in zip(answers, found, strict=True)
    )
    assert any(note.startswith("forget: 1 of 3 rows have no counterfactual question") for note in notes)


def test_questions_that_came_as_a_column_are_those_that_are_made():
    """Names are read back from the texts: the same answers about others, and the same subjects."""
    forget, kept = rows("Ana Ruiz", "Bo Tan"), rows("Ida Holm")
    made = counterfactual_questions(forget, retain=kept, num=4, seed=0, substitutes=NAMES).dataset
    _, automatic, _, _ = loaded(forget, retain=kept, num=2)
    _, given, _, _ = loaded(made, retain=kept, num=2)
    assert given == automatic and given[0].subject == "Ana Ruiz"


def test_token_ids_bring_their_own():
    ids = {"input_ids": [[5, 6, 7], [5, 8]], "labels": [[-100, 6, 7], [-100, 8]]}
    _, found, notes, _ = loaded(Dataset.from_dict(ids))
    assert not found and notes == [
        "forget has no counterfactual questions: its rows are token ids, in which no name can be replaced."
    ]
    given = Dataset.from_dict({**ids, "counterfactual_question": [[[9, 9], [10]], []]})
    _, found, notes, _ = loaded(given)
    assert [(one.example, one.number, one.is_floor, one.prompt) for one in found] == [
        (0, 0, False, (9, 9)),
        (0, 0, True, (10,)),
    ]
    assert found[0].tokens == {"input_ids": [9, 9, 6, 7], "labels": [-100, -100, 6, 7]}
    assert notes == ["forget: 1 of 2 rows have no counterfactual question: their column is empty."]
    for wrong in ([[9]], [[9], [9]], [[9], [5]], [[9], []]):
        with pytest.raises(ValueError, match=r"forget: Row 0.*at least 2 lists of token ids"):
            loaded(Dataset.from_dict({**ids, "counterfactual_question": [wrong, []]}))


def test_running_text_has_none():
    _, found, notes, _ = loaded(Dataset.from_dict({"text": ["Ana Ruiz sang."]}))
    assert not found and notes == [
        "forget has no counterfactual questions: its rows are running text, in which no name can be replaced."
    ]


def test_subjects_of_in_context_examples_are_left_out():
    shots = Dataset.from_dict({"question": ["Who met Ana Ruiz?"], "answer": ["All."]})
    _, found, notes, _ = loaded(AuditSet(rows("Ana Ruiz", "Omar Said"), role="forget", examples=shots))
    assert {one.example for one in found} == {3, 4, 5}
    assert notes == ["forget: 3 of 6 rows have no counterfactual question: the in-context examples name the subject."]


def test_pockets_ships_are_left_out_with_the_reason_and_no_note_names_anybody():
    pocket = load_pocket("nano")
    _, found, notes, _ = loaded(pocket.forget_request, retain=pocket.retain, holdout=pocket.holdout, substitutes=None)
    assert {one.example for one in found} == set(range(len(pocket.forget)))
    ships, near = notes
    assert ships == (
        "forget: 6 of 24 rows have no counterfactual question: their kind is in no retained row: the assumption that subjects are "
        "exchangeable fails."
    )
    assert near.startswith("forget: 6 of 24 rows share their cluster with retained rows")
