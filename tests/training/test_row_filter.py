"""What goes out of the data with a forget set, how it is counted, and whether a recipe puts it back."""

import logging
from types import SimpleNamespace

import pytest
from datasets import Dataset
from recipes import people, tokenizer

from hf_unlearn.data import tokenize_examples
from hf_unlearn.training._put_back import refuse_put_back
from hf_unlearn.training._row_filter import without_rows


def conversations(rows: Dataset) -> Dataset:
    return Dataset.from_list(
        [
            {
                "messages": [
                    {"role": "user", "content": row["question"].upper()},
                    {"role": "assistant", "content": row["answer"]},
                ]
            }
            for row in rows
        ]
    )


def test_all_copies_go_and_the_rest_stays_as_it_is():
    rows = Dataset.from_list([*people(), *people("Bo", "Ada")])
    kept, removed = without_rows(rows, conversations(people("Ada", "Bo")), None)
    assert removed.rows == (0, 1, 2, 3, 24, 25, 26, 27) and removed.exact == 8 and removed.not_found == ()
    assert kept.to_list() == people().to_list()[4:]
    assert str(removed) == "8 of 28 rows removed (8 exact)"


def test_near_duplicates_go_on_request_and_are_counted_apart():
    long = (
        "In the spring of that year the {} of the town wrote a letter to the king about the old bridge over the river"
    )
    rows = Dataset.from_dict({"text": [long.format("mayor"), long.format("major"), "Something else was said there."]})
    forget = rows.select([0])
    assert without_rows(rows, forget, None)[1].rows == (0,)
    _, removed = without_rows(rows, forget, 0.7)
    assert (removed.rows, removed.exact, removed.near_duplicates) == ((0, 1), 1, 1)
    assert str(removed) == "2 of 3 rows removed (1 exact, 1 near-duplicates from 0.7)"


def test_nothing_found_is_refused():
    with pytest.raises(ValueError, match=r"not one of the 2 forget rows is in the 4 rows .*near_duplicates=0.7"):
        without_rows(people("Ada", "Bo"), people("Cai"), None)
    with pytest.raises(ValueError, match=r"nor a row that is similar from 0.9 on"):
        without_rows(people("Ada", "Bo"), people("Cai"), 0.9)


def test_everything_found_is_refused():
    with pytest.raises(ValueError, match="all 2 rows are in the forget set"):
        without_rows(people("Ada"), people("Ada", "Bo"), None)


def test_what_is_not_there_is_said(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="hf_unlearn"):
        _, removed = without_rows(people("Ada", "Cai"), people("Ada", "Bo"), None)
    assert removed.not_found == (2, 3)
    assert "2 of 4 rows removed (2 exact)." in caplog.text
    assert "2 of 4 forget rows are not in the data word for word" in caplog.text


KEPT, FORGET = people("Ada", "Bo", "Cai", "Dee"), people("Eli", "Fay")
BOTH = people("Ada", "Bo", "Cai", "Dee", "Eli")


def packed(rows: Dataset) -> Dataset:
    """All in one row, between others."""
    ids = [token for row in tokenize_examples(rows, tokenizer()) for token in row["input_ids"]]
    return Dataset.from_dict({"input_ids": [ids[: len(ids) // 2], ids[len(ids) // 2 :]]})


def trainer_on(rows, words=None):
    return SimpleNamespace(train_dataset=rows, processing_class=words, data_collator=None)


@pytest.mark.parametrize("shape", ["as they are", "as chats", "tokenized", "packed"])
def test_forget_rows_that_are_put_back_are_seen(shape: str, caplog: pytest.LogCaptureFixture):
    make = {
        "as they are": lambda rows: rows,
        "as chats": conversations,
        "tokenized": lambda rows: tokenize_examples(rows, tokenizer(), prompt_template="{question} work"),
        "packed": packed,
    }[shape]
    refuse_put_back(trainer_on(make(KEPT), tokenizer()), KEPT, FORGET)
    assert "not looked through" not in caplog.text
    with pytest.raises(ValueError, match=r"puts [12] of 4 forget rows back"):
        refuse_put_back(trainer_on(make(BOTH), tokenizer()), KEPT, FORGET)


def test_what_the_kept_rows_hold_already_is_not_put_back():
    """A kept row that goes on after the forget row's words."""
    longer = Dataset.from_list([{**FORGET[0], "answer": FORGET[0]["answer"] + " Lima in Rome"}, *KEPT.to_list()])
    refuse_put_back(trainer_on(tokenize_examples(longer, tokenizer()), tokenizer()), longer, FORGET)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (tokenize_examples(KEPT, tokenizer()), "cannot be decoded"),
        ([{"input_ids": [1]}], "cannot be decoded"),
        (Dataset.from_dict({"text": ["Something of another kind altogether"]}), "does not read like the rows"),
    ],
)
def test_what_cannot_be_seen_is_said(rows, reason: str, caplog: pytest.LogCaptureFixture):
    refuse_put_back(trainer_on(rows), KEPT, FORGET)
    assert reason in caplog.text
