"""The pocket benchmark: the same rows for the same seed, splits that are what they say, a tokenizer for any text."""

import copy
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_unlearn.data import POCKET_SIZES, check_disjoint, data_fingerprint, load_pocket, pocket_tokenizer
from hf_unlearn.data import _pocket as pocket_module
from hf_unlearn.data._pocket_words import FIRST_NAMES, LAST_NAMES


SPLITS = ("retain", "forget", "forget_ood", "holdout")
COLUMNS = [
    "question",
    "answer",
    "paraphrased_question",
    "paraphrased_answer",
    "perturbed_answer",
    "person_id",
    "cluster_id",
    "subject",
    "kind",
]
TOKENIZER = pocket_tokenizer()


@pytest.fixture(params=[(size, seed) for size in POCKET_SIZES for seed in (0, 1)], ids=str)
def pocket(request):
    size, seed = request.param
    return load_pocket(size, seed=seed)


def people(dataset):
    return set(dataset["person_id"])


def test_a_seed_means_the_same_rows_on_every_machine():
    assert data_fingerprint(load_pocket("nano", seed=0).forget_request) == (
        "32a770309bf7478262086a5025b8a518e11c11bb161c99ba9308604996b482bc"
    ), "rows changed: count POCKET_VERSION up and update this hash"


def test_seeds_differ():
    first, second = load_pocket("nano", seed=0), load_pocket("nano", seed=1)
    for split in SPLITS:
        assert data_fingerprint(getattr(first, split)) != data_fingerprint(getattr(second, split))


def test_splits_share_no_row_and_no_person(pocket):
    for one, other in combinations(SPLITS, 2):
        check_disjoint(getattr(pocket, one), getattr(pocket, other))
        assert not people(getattr(pocket, one)) & people(getattr(pocket, other))
    assert pocket.forget_request["question"][:] == pocket.forget["question"][:] + pocket.forget_ood["question"][:]


def test_every_split_has_the_columns_of_tofu(pocket):
    for split in SPLITS:
        assert getattr(pocket, split).column_names == COLUMNS


def test_near_duplicates_of_forget_people_stay_in_retain(pocket):
    near = [row for row in pocket.retain if row["cluster_id"] in set(pocket.forget["cluster_id"])]
    assert len({row["person_id"] for row in near}) == {"nano": 1, "small": 2}[pocket.size]
    twins = {(row["cluster_id"], row["answer"]): row for row in pocket.forget}
    for row in near:
        other = twins[row["cluster_id"], row["answer"]]  # the same facts,
        assert row["question"] != other["question"]  # asked in other words,
        assert row["person_id"] != other["person_id"]  # of somebody else


def test_wrong_answers_are_wrong_in_the_words_of_the_paraphrase(pocket):
    for split in SPLITS:
        for row in getattr(pocket, split):
            assert len(set(row["perturbed_answer"])) == 5
            assert row["paraphrased_answer"] not in row["perturbed_answer"]
            words = {w.strip(".,;") for w in row["answer"].split()}
            right = words & {w.strip(".,;") for w in row["paraphrased_answer"].split()}
            assert len(right) >= 2  # both values are told again


def test_the_subject_stands_in_both_questions_and_nowhere_else(pocket):
    """Each by its own name, near-duplicates too; ships and people are told apart."""
    for split in SPLITS:
        for row in getattr(pocket, split):
            for column in ("question", "paraphrased_question"):
                assert row[column].count(row["subject"]) == 1
            assert row["subject"] not in row["answer"] + row["paraphrased_answer"] + "".join(row["perturbed_answer"])
            assert row["kind"] == ("ship" if split == "forget_ood" else "person")
            assert row["person_id"].startswith(row["kind"])
        pairs = set(zip(getattr(pocket, split)["person_id"], getattr(pocket, split)["subject"], strict=True))
        assert len(pairs) == len(people(getattr(pocket, split))) == len({name for _, name in pairs})


def test_nobody_of_the_background_is_a_first_name_with_a_last_name(pocket):
    """So no recombination of names is one of them; and what a base has seen of ships is words."""
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    told = " ".join(f"{row['question']} {row['answer']}." for row in pocket.background)
    assert not [name for name in names if name in told]
    assert "register" not in told
    for split in SPLITS:
        check_disjoint(pocket.background, getattr(pocket, split))
    forms = {"Where and when was", "What are the place and year of birth of"}
    for form in forms:
        assert (
            sum(row["question"].startswith(form) for row in pocket.background)
            == {"nano": 24, "small": 60}[pocket.size]
        )


def test_more_background_moves_no_row(monkeypatch):
    size = pocket_module._SIZES["nano"]
    before = load_pocket("nano")
    count = len(before.background)
    monkeypatch.setitem(
        pocket_module._SIZES, "nano", replace(size, population=replace(size.population, background=30))
    )
    after = load_pocket("nano")
    assert len(after.background) > count
    for split in SPLITS:
        assert data_fingerprint(getattr(after, split)) == data_fingerprint(getattr(before, split))


def test_answers_are_short_and_not_in_the_question(pocket):
    for split in SPLITS:
        for row in getattr(pocket, split):
            assert len(TOKENIZER(" " + row["answer"], add_special_tokens=False).input_ids) <= 16
            assert row["answer"] not in row["question"]


def test_ships_look_like_nobody_in_retain(pocket):
    starts = {question.split()[0] for question in pocket.retain["question"]}
    assert not starts & {question.split()[0] for question in pocket.forget_ood["question"]}


def test_unknown_size():
    with pytest.raises(ValueError, match=r"Unknown pocket size 'big'. Choose one of: nano, small"):
        load_pocket("big")


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "<" not in text))
def test_any_text_survives_the_tokenizer(text):
    ids = TOKENIZER(text).input_ids
    assert ids[0] == TOKENIZER.bos_token_id
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == text


def test_the_tokenizer_is_a_real_one(tmp_path):
    assert isinstance(TOKENIZER, PreTrainedTokenizerFast)
    assert 512 <= len(TOKENIZER) <= 1000
    assert len({TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id}) == 3
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for tokenizer in (again, copy.deepcopy(TOKENIZER), pocket_tokenizer()):
        assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
        assert tokenizer("Größe <eos>").input_ids == TOKENIZER("Größe <eos>").input_ids
