"""Batches: masks come from lengths, padding changes nothing but its own places."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.data import AnswerCollator, pad_token_id


ids = st.lists(st.integers(0, 5), min_size=1, max_size=7)
PAD = 2


def as_rows(sequences):
    return [{"input_ids": list(sequence), "labels": [-100, *sequence[1:]]} for sequence in sequences]


def test_known_batch():
    batch = AnswerCollator(PAD)([*as_rows([[5, 6, PAD], [7]])])
    assert batch["input_ids"].tolist() == [[5, 6, PAD], [7, PAD, PAD]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, PAD], [-100, -100, -100]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


@given(st.lists(ids, min_size=1, max_size=5))
def test_real_tokens_survive_even_where_they_equal_the_padding(sequences):
    for side in ("right", "left"):
        batch = AnswerCollator(PAD, side)(as_rows(sequences))
        for index, sequence in enumerate(sequences):
            real = batch["attention_mask"][index].bool()
            assert batch["input_ids"][index][real].tolist() == sequence
            assert batch["labels"][index][real].tolist() == [-100, *sequence[1:]]
            assert (batch["labels"][index][~real] == -100).all()
            assert (batch["input_ids"][index][~real] == PAD).all()


@given(st.lists(ids, min_size=1, max_size=5))
def test_left_is_right_read_from_the_other_end(sequences):
    left, right = (AnswerCollator(PAD, side)(as_rows(sequences)) for side in ("left", "right"))
    for key in left:
        for index, sequence in enumerate(sequences):
            shift = left[key].shape[1] - len(sequence)
            assert torch.equal(left[key][index].roll(-shift), right[key][index])


def test_tensors_and_extra_keys_are_welcome():
    row = {"input_ids": torch.tensor([1, 2]), "labels": torch.tensor([-100, 2]), "index": "x"}
    assert AnswerCollator(0)([row])["input_ids"].tolist() == [[1, 2]]


def test_bad_rows():
    with pytest.raises(ValueError, match="padding_side must be 'right' or 'left', got 'middle'"):
        AnswerCollator(0, "middle")
    with pytest.raises(ValueError, match="Cannot make a batch of no rows"):
        AnswerCollator(0)([])
    with pytest.raises(ValueError, match=r"Row 0 of the batch has no labels \(found: input_ids\).*tokenize_examples"):
        AnswerCollator(0)([{"input_ids": [1]}])
    with pytest.raises(ValueError, match="Row 0 of the batch has 1 input_ids but 2 labels"):
        AnswerCollator(0)([{"input_ids": [1], "labels": [1, 2]}])


def test_the_padding_id_is_pad_else_end_else_zero(tokenizer):
    assert pad_token_id(tokenizer) == tokenizer.pad_token_id
    tokenizer.pad_token = None
    assert pad_token_id(tokenizer) == tokenizer.eos_token_id
    tokenizer.eos_token = None
    assert pad_token_id(tokenizer) == 0
