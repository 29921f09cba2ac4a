"""Token ids and labels: prompt ids are a prefix of the whole, labels cover the answer and its end, nothing is cut."""

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from toys import CHOICE_TEXTS, byte_level, marked_words
from transformers import PreTrainedTokenizerFast

from hf_unlearn.data import load_data, pocket_tokenizer, prompt_token_ids, tokenize_examples
from hf_unlearn.functional import IGNORE_INDEX


SHARED = pocket_tokenizer()
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WEATHER = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "No."}]


def read(rows, tokenizer, **settings):
    return tokenize_examples(Dataset.from_list(rows), tokenizer, **settings)


def answer_text(row, tokenizer):
    return tokenizer.decode([label for label in row["labels"] if label != IGNORE_INDEX])


def prompt_text(row, tokenizer):
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    return tokenizer.decode([token for token, label in pairs if label == IGNORE_INDEX])


def test_a_question_without_a_template(tokenizer):
    (row,) = read([{"question": "Why?", "answer": "So.", "person_id": "x"}], tokenizer)
    assert prompt_text(row, tokenizer) == "<bos>Question: Why?\nAnswer:"
    assert answer_text(row, tokenizer) == " So.<eos>"
    assert set(row) == {"input_ids", "labels"}


def test_prompt_and_completion_are_taken_verbatim(chat_tokenizer):
    (row,) = read([{"prompt": "ab", "completion": "cd"}], chat_tokenizer)
    assert (prompt_text(row, chat_tokenizer), answer_text(row, chat_tokenizer)) == ("<bos>ab", "cd<eos>")


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Rain?", "answer": "No."},
        {"messages": WEATHER},
        {"prompt": WEATHER[:1], "completion": WEATHER[1:]},
    ],
    ids=["question", "messages", "completion"],
)
def test_chat_goes_through_the_template_and_stops_at_its_end_token(row, chat_tokenizer):
    (result,) = read([row], chat_tokenizer)
    assert prompt_text(result, chat_tokenizer) == "<user>Rain?<eos>\n<assistant>"
    assert answer_text(result, chat_tokenizer) == "No.<eos>"
    assert prompt_token_ids(Dataset.from_list([row]), chat_tokenizer) == [
        [token for token, label in zip(result["input_ids"], result["labels"], strict=True) if label == IGNORE_INDEX]
    ]


def test_a_template_without_end_token_gets_one(chat_tokenizer):
    chat_tokenizer.chat_template = chat_tokenizer.chat_template.replace("{{ eos_token }}", "|")
    (row,) = read([{"messages": WEATHER}], chat_tokenizer)
    assert answer_text(row, chat_tokenizer) == "No.|\n<eos>"


def test_a_template_whose_generation_prompt_is_no_prefix(chat_tokenizer):
    chat_tokenizer.chat_template = chat_tokenizer.chat_template.replace("<assistant>{%", "<bot>{%")
    with pytest.raises(ValueError, match="Row 0: the chat template's generation prompt is not how the whole"):
        read([{"messages": WEATHER}], chat_tokenizer)


def test_text_is_all_answer_after_the_first_token(tokenizer):
    (row,) = read([{"text": "one two"}], tokenizer)
    assert row["labels"] == [IGNORE_INDEX, *row["input_ids"][1:]]
    assert tokenizer.decode(row["input_ids"]) == "<bos>one two<eos>"


def test_a_tokenized_dataset_is_taken_as_it_is(tokenizer):
    rows = [{"input_ids": [7, 8, 9, 4], "labels": [-100, -100, 9, -100], "attention_mask": [1, 1, 1, 1]}]
    assert read(rows, tokenizer).to_list() == [{"input_ids": [7, 8, 9, 4], "labels": [-100, -100, 9, -100]}]
    assert prompt_token_ids(Dataset.from_list(rows), tokenizer) == [[7, 8]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_a_tokenized_dataset_is_no_text(side, tokenizer):
    whole = {"input_ids": [7, 8, 9, 4], "labels": [-100, -100, 9, 4], "attention_mask": [1, 1, 1, 1]}
    padding = {"input_ids": [0, 0], "labels": [-100, 0], "attention_mask": [0, 0]}
    padded = {name: padding[name] + whole[name] if side == "left" else whole[name] + padding[name] for name in whole}
    plain = read([whole], tokenizer).to_list()
    assert read([padded], tokenizer).to_list() == plain
    assert prompt_token_ids(Dataset.from_list([padded]), tokenizer) == [[7, 8]]


def test_a_transform_is_applied(tokenizer):
    rows = Dataset.from_dict({"q": ["Why?"], "a": ["So."]})
    lazy = rows.with_transform(lambda batch: {"question": batch["q"], "answer": batch["a"]})
    plain = Dataset.from_dict({"question": ["Why?"], "answer": ["So."]})
    assert tokenize_examples(lazy, tokenizer).to_list() == tokenize_examples(plain, tokenizer).to_list()
    assert prompt_token_ids(lazy, tokenizer) == prompt_token_ids(plain, tokenizer)
    assert load_data(lazy).to_list() == plain.to_list()


def test_a_formatted_dataset_is_read_as_any_other(tokenizer):
    rows = Dataset.from_list([{"input_ids": [7, 8, 9], "labels": [-100, 8, 9]}])
    assert tokenize_examples(rows.with_format("torch"), tokenizer).to_list() == rows.to_list()


def test_a_tokenizer_that_ends_every_text_does_not_end_the_prompt(tokenizer):
    from tokenizers import processors

    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    ending = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>")
    (row,) = read([{"prompt": "ab", "completion": "cd"}], ending)
    assert ending.decode(row["input_ids"]) == "<bos>abcd<eos>"


def test_a_tokenizer_without_special_tokens(tokenizer):
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    bare.backend_tokenizer.post_processor = None
    row = {"prompt": "ab", "completion": "cd"}
    assert bare.decode(read([row], bare)[0]["input_ids"]) == "abcd"
    with pytest.raises(ValueError, match="Row 1 has a prompt without any token"):
        read([row, {"prompt": "", "completion": "cd"}], bare)


@given(st.lists(st.tuples(texts, texts.filter(len)), min_size=1, max_size=4))
def test_prompt_ids_are_a_prefix_and_labels_the_rest(pairs):
    dataset = Dataset.from_dict({"prompt": [p for p, _ in pairs], "completion": [c for _, c in pairs]})
    rows, prompts = tokenize_examples(dataset, SHARED), prompt_token_ids(dataset, SHARED)
    assert len(rows) == len(pairs)
    for row, prompt, (_, completion) in zip(rows, prompts, pairs, strict=True):
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"] == [IGNORE_INDEX] * len(prompt) + row["input_ids"][len(prompt) :]
        assert row["input_ids"][len(prompt) :] == [*SHARED(completion, add_special_tokens=False).input_ids, 2]


@pytest.mark.parametrize("make", [byte_level, marked_words])
@pytest.mark.parametrize(
    "template", ["[INST] {question} [/INST]{answer}", "Question: {question} Answer:", "{question}{answer}"]
)
def test_an_answer_is_tokenized_in_its_place(make, template):
    """Llama 2 was trained on "[/INST]A" as one text. By itself "A" would have a mark of a word's beginning in front, which the model never saw there."""
    tokenizer = make(*CHOICE_TEXTS)
    rows = [{"question": "Yes?", "answer": text} for text in ("A", "a dog", "no yes")]
    filled = template if "{answer}" in template else template + " {answer}"
    for row, found in zip(rows, read(rows, tokenizer, prompt_template=template), strict=True):
        whole = tokenizer(filled.format(**row))["input_ids"]
        assert found["input_ids"] == [*whole, tokenizer.eos_token_id]
        assert answer_text(found, tokenizer).strip().removesuffix("</s>").strip() == row["answer"]


MARKED, BYTES = marked_words(*CHOICE_TEXTS), byte_level(*CHOICE_TEXTS)


@given(st.text("ab A?\n", min_size=1, max_size=8), st.text("ab A?\n", max_size=8).filter(str.strip))
def test_one_text_where_the_prompts_tokens_begin_it_else_two(prompt, completion):
    for tokenizer in (MARKED, BYTES):
        start = [tokenizer.bos_token_id] if tokenizer is MARKED else []
        before, after, whole = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (prompt, completion, prompt + completion)
        )
        one = whole[: len(before)] == before and len(whole) > len(before)
        (row,) = read([{"prompt": prompt, "completion": completion}], tokenizer)
        assert row["input_ids"] == [*start, *(whole if one else before + after), tokenizer.eos_token_id]
        assert row["labels"][: len(start + before)] == [IGNORE_INDEX] * len(start + before)


def test_too_long_names_row_and_lengths(tokenizer):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b" * 40}]
    longest = len(read(rows[1:], tokenizer)[0]["input_ids"])
    assert len(read(rows, tokenizer, max_length=longest)) == 2
    with pytest.raises(ValueError, match=rf"Row 1 has {longest} tokens \(prompt 2, answer .*max_length={longest - 1}"):
        read(rows, tokenizer, max_length=longest - 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "a", "answer": "b"}, {"question": "a", "answer": " "}], "Row 1 has an empty answer"),
        ([{"prompt": "a", "completion": ""}], "Row 0 has an answer without any token"),
        ([{"text": ""}], "Row 0 has an answer without any token"),
        ([{"prompt": "a", "completion": None}], "Row 0, column 'completion': expected text, got NoneType"),
        ([{"prompt": WEATHER[:1], "completion": WEATHER[1:]}], "Row 0 holds chat messages, but the tokenizer has no"),
        ([{"messages": [WEATHER[0], {"role": "assistant", "content": ""}]}], "Row 0 has an empty answer"),
        ([{"messages": [WEATHER[0], {"role": "assistant", "content": None}]}], "Row 0 has an empty answer"),
        (
            [{"prompt": WEATHER[:1], "completion": [{"role": "assistant", "content": " "}]}],
            "Row 0 has an empty answer",
        ),
        (
            [{"input_ids": [1, 2], "labels": None}, {"input_ids": [1], "labels": [1]}],
            "Row 0 has nothing in column 'labels'",
        ),
        ([{"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [1]}], "labels and an attention_mask of 1"),
        ([{"messages": WEATHER[:1]}], "Row 0: `messages` must be a list of at least two messages"),
        ([{"messages": WEATHER}], "Row 0 holds chat messages, but the tokenizer has no"),
        ([{"input_ids": [1, 2], "labels": [1]}], "Row 0 has 2 input_ids but 1 labels"),
        ([{"input_ids": [1, 2], "labels": [1, -100]}], "Row 0 has an answer without any token"),
        (
            [{"Question": "a", "answers": "b"}],
            "Found: Question, answers.*Did you mean 'question' for 'Question', 'ans",
        ),
    ],
)
def test_bad_rows_are_named(rows, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        read(rows, tokenizer)


def test_no_rows_no_dataset_no_prompt_no_tokenizer(tokenizer):
    with pytest.raises(ValueError, match="The dataset has no rows"):
        tokenize_examples(Dataset.from_dict({"text": []}), tokenizer)
    with pytest.raises(TypeError, match=r"Expected a datasets.Dataset, got list"):
        tokenize_examples([{"text": "a"}], tokenizer)
    with pytest.raises(ValueError, match="has no prompts to complete"):
        prompt_token_ids(Dataset.from_dict({"text": ["a"]}), tokenizer)
    with pytest.raises(TypeError, match="processing_class must be a tokenizer"):
        read([{"text": "ab"}], None)


def test_a_processor_lends_its_tokenizer(tokenizer):
    class Processor:
        pass

    processor = Processor()
    processor.tokenizer = tokenizer
    rows = [{"text": "one two"}]
    assert read(rows, processor).to_list() == read(rows, tokenizer).to_list()
