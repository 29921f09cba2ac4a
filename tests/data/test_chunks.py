"""Running text as prompts and answers: every token once, halves, balanced lengths."""

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from hf_unlearn.data import chunk_texts, pocket_tokenizer, tokenize_examples


SHARED = pocket_tokenizer()
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)


@given(st.lists(texts, min_size=1, max_size=4), st.integers(3, 40))
def test_every_token_is_in_one_chunk_and_half_of_each_is_answer(documents: list[str], max_tokens: int):
    rows, origin = chunk_texts(Dataset.from_dict({"text": documents}), SHARED, max_tokens=max_tokens)
    for index, document in enumerate(documents):
        chunks = [row for row, text in zip(rows, origin, strict=True) if text == index]
        bodies = [row["input_ids"][1:] for row in chunks]
        whole = [*SHARED(document, add_special_tokens=False).input_ids, SHARED.eos_token_id]
        assert sum(bodies, []) == whole  # noqa: RUF017
        assert len(chunks) == -(-len(whole) // (max_tokens - 1))
        assert max(map(len, bodies)) - min(map(len, bodies)) <= 1
        for row in chunks:
            ids, labels = row["input_ids"], row["labels"]
            prompt = labels.count(-100)
            assert len(ids) <= max_tokens
            assert ids[0] == SHARED.bos_token_id
            assert prompt == 1 + (len(ids) - 1) // 2
            assert labels == [-100] * prompt + ids[prompt:]


def test_a_short_text_is_one_chunk_with_the_tokens_of_training():
    rows = Dataset.from_dict({"text": ["one two three"]})
    (chunk,) = chunk_texts(rows, SHARED)[0]
    assert chunk["input_ids"] == tokenize_examples(rows, SHARED)[0]["input_ids"]


def test_for_training_every_token_but_the_first_is_answer():
    rows = Dataset.from_dict({"text": ["one two three four five six seven eight nine ten " * 3]})
    with pytest.raises(
        ValueError, match=r"more than max_length=20.*`data\.chunk_texts\(…, prompts=False\)` cuts texts"
    ):
        tokenize_examples(rows, SHARED, max_length=20)
    chunks, _ = chunk_texts(rows, SHARED, max_tokens=20, prompts=False)
    assert len(tokenize_examples(chunks, SHARED, max_length=20)) == len(chunks) > 1
    assert all(row["labels"] == [-100, *row["input_ids"][1:]] for row in chunks)


@pytest.mark.parametrize(
    ("rows", "max_tokens", "message"),
    [
        ({"text": ["a b", ""]}, 256, "Row 1 has a text without a token"),
        ({"text": ["a b", None]}, 256, "Row 1, column 'text': expected text, got NoneType"),
        ({"prompt": ["a"]}, 256, "expected a column 'text', found prompt"),
        ({"text": ["a b"]}, 2, "max_tokens=2 leaves no room .* give at least 3"),
    ],
)
def test_what_cannot_be_cut(rows: dict, max_tokens: int, message: str):
    with pytest.raises(ValueError, match=message):
        chunk_texts(Dataset.from_dict(rows), SHARED, max_tokens=max_tokens)


def test_without_start_and_end_token_a_text_needs_two_tokens():
    backend = pocket_tokenizer().backend_tokenizer
    backend.post_processor = None
    bare = PreTrainedTokenizerFast(tokenizer_object=backend)
    (chunk,) = chunk_texts(Dataset.from_dict({"text": ["{}"]}), bare)[0]
    assert chunk["labels"].count(-100) == 1
    with pytest.raises(ValueError, match="Row 0 has a text without a token"):
        chunk_texts(Dataset.from_dict({"text": ["{"]}), bare)
