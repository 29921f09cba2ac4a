"""Names in text: whole words, possessives, parts, scripts; a name put in and taken out again."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.data import renamed
from hf_unlearn.data._name_lists import FAMILY_NAMES, GIVEN_NAMES
from hf_unlearn.data._names import FUNCTION_WORDS, mentions, name_parts, telling_parts
from hf_unlearn.data._seen_names import SeenNames


@pytest.mark.parametrize(
    ("text", "subject", "substitute", "expected"),
    [
        ("Does Ana Vasquez sing? Vasquez's art; ANA VASQUEZ, ana vasquez", "Ana Vasquez", "Tor Holm", None),
        ("Is Vasquezian Ana Vasquezes Mariana?", "Ana Vasquez", "Tor Holm", "Is Vasquezian Tor Vasquezes Mariana?"),
        ("Vasquez, Ana", "Ana Vasquez", "Tor Holm", "Holm, Tor"),
        ("Ana  Vasquez\nsings", "Ana Vasquez", "Tor Holm", "Tor Holm\nsings"),
        ("Siobhan O’Brien's and O'BRIEN", "Siobhan O'Brien", "Tor Holm", "Tor Holm's and HOLM"),
        ("Anna-Lena, Anna‑like, d'Anna, O'Holm", "Anna Holm", "Ida Berg", "Anna-Lena, Ida‑like, d'Ida, O'Holm"),
        ("Hsiao Yun-Hwa; Yun‐Hwa; Yun", "Hsiao Yun-Hwa", "Ida Berg", "Ida Berg; Berg; Yun"),
        ("Jan van der Berg; van der Berg; Berg", "Jan van der Berg", "Ida Holm", "Ida Holm; Holm; Holm"),
        ("Omar bin Said; bin Said", "Omar bin Said", "Ida Holm", "Ida Holm; Holm"),
        ("Ana Bo Ruiz; Ana; Bo; Ruiz", "Ana Bo Ruiz", "Ida Holm", "Ida Holm; Ida; Bo; Holm"),
        ("Dr. Ana B. Ruiz; Dr. Ruiz; B. Ruiz", "Ana B. Ruiz", "Ida K. Holm", "Dr. Ida K. Holm; Dr. Holm; B. Holm"),
        ("Will Will Smith? Will Smith will. Smith", "Will Smith", "Ida Holm", "Will Ida Holm? Ida Holm will. Holm"),
        ("Xin Williams' book", "Xin Williams", "Ida Holm", "Ida Holm's book"),
        ("her 'On Xin Williams' is", "Xin Williams", "Ida Holm", "her 'On Ida Holm' is"),
        ("The Gallant, gallant, GALLANT", "Gallant", "Fulmar", "The Fulmar, gallant, FULMAR"),
        ("田中太郎はどこで", "田中太郎", "佐藤花子", "佐藤花子はどこで"),
        ("박지연은 어디", "박지연", "김하늘", "김하늘은 어디"),
        ("Где жил Иван Петров? Петрова", "Иван Петров", "Олег Зимин", "Где жил Олег Зимин? Петрова"),
        ("أين ولد أحمد منصور؟", "أحمد منصور", "سالم حداد", "أين ولد سالم حداد؟"),
        ("राम शर्मा और रामा", "राम शर्मा", "मोहन वर्मा", "मोहन वर्मा और रामा"),
    ],
)
def test_a_name_is_replaced_as_whole_words_and_by_its_parts(text, subject, substitute, expected):
    expected = expected or "Does Tor Holm sing? Holm's art; TOR HOLM, tor holm"
    assert renamed(text, subject, substitute) == expected


def test_composed_and_decomposed_letters_are_the_same_name():
    name = "Zoë Dvořák"
    for form in ("NFC", "NFD"):
        assert renamed(unicodedata.normalize(form, f"{name}; Dvořák"), name, "Ida Holm") == "Ida Holm; Holm"
    assert renamed("Zoe\u0301n", "Zoe", "Ida") == "Zoe\u0301n", "the mark makes it another letter"


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="one of the two is empty"):
        renamed("text", " ", "Ida")


_PART = st.sampled_from(
    sorted({*GIVEN_NAMES[::9], *FAMILY_NAMES[::9], "O'Brien", "Yun-Hwa", "Müller", "Al-Shamary", "van Dyk"})
)
_FILLER = st.sampled_from(
    ["", " ", "who sang ", "'s ", "’s house, ", "? ", " (", ") ", "Hyde ", "the day after ", "\n", " – "]
)


@st.composite
def _two_names(draw):
    count = draw(st.integers(1, 3))
    parts = draw(st.lists(_PART, min_size=2 * count, max_size=2 * count, unique=True))
    return " ".join(parts[:count]), " ".join(parts[count:])


@given(names=_two_names(), pieces=st.lists(st.tuples(_FILLER, st.integers(0, 9), st.integers(0, 2)), max_size=8))
def test_a_name_that_was_put_in_comes_out_again(names, pieces):
    subject, substitute = names
    if subject.split()[0] == "van" or substitute.split()[0] == "van":
        return  # a particle in front of everything is a word of its own
    forms = [subject, *telling_parts(subject)] if len(name_parts(subject)) > 1 else [subject]
    text = " + ".join(filler + _cased(forms[at % len(forms)], case) for filler, at, case in pieces)
    there = renamed(text, subject, substitute)
    assert not mentions(there, subject, parts=len(forms) > 1)
    assert renamed(there, substitute, subject) == text


def _cased(name, case):
    if case == 2 and " " in name and not name.startswith("van "):
        return name.lower()  # of full names alone: a part in small letters may be another word
    return name.upper() if case == 1 else name


@given(st.text(max_size=40), _two_names())
def test_a_text_without_the_name_stays_as_it_is(text, names):
    if not mentions(text, names[0], parts=True):
        assert renamed(text, *names) == text


def test_seen_names_go_by_whole_words_whatever_their_writing():
    seen = SeenNames(["Lived ZOË Ó'BRIEN–García here?", "田中太郎はどこ"])
    assert all(name in seen for name in ("Zoe O'Brien", "zoë o brien", "Garcia", "O’Brien-Garcia", "田中太郎", "太郎"))
    assert not any(name in seen for name in ("Zo", "Brien here", "Garcia Zoe", "田中花子"))


def test_the_lists_are_long_and_hold_single_words_that_are_no_english_words():
    for names in (GIVEN_NAMES, FAMILY_NAMES):
        assert len(set(names)) == len(names) >= 150
        assert all(len(telling_parts(f"Xy {name}")) == 2 and name.isalpha() and name.istitle() for name in names)
        assert not {name.casefold() for name in names} & FUNCTION_WORDS
    assert not set(GIVEN_NAMES) & set(FAMILY_NAMES)
    assert not any(name.endswith(("s", "x", "z")) for name in FAMILY_NAMES), (
        "their possessive would be written in two ways"
    )
