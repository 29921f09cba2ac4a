"""How questions are put: what a template means, what is refused, and that every road from rows to token ids follows it."""

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.data import QUESTION_TEMPLATE, pocket_tokenizer, prompt_token_ids, tokenize_examples
from hf_unlearn.data._template import parse_template


QUESTIONS = Dataset.from_dict({"question": ["Why {x}?"], "answer": ["So {y}."]})
INSTRUCTION = "[INST] {question} [/INST]"


def texts(tokenizer, template, rows=QUESTIONS):
    (row,) = tokenize_examples(rows, tokenizer, prompt_template=template)
    (prompt,) = prompt_token_ids(rows, tokenizer, prompt_template=template)
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"] == [-100] * len(prompt) + row["input_ids"][len(prompt) :]
    return tokenizer.decode(prompt), tokenizer.decode(row["input_ids"][len(prompt) :])


@pytest.mark.parametrize(
    ("template", "prompt", "answer"),
    [
        (INSTRUCTION, "<bos>[INST] Why {x}? [/INST]", " So {y}.<eos>"),
        ("Q: {question}\nA:\n", "<bos>Q: Why {x}?\nA:\n", "So {y}.<eos>"),
        ("Q: {question} A: ", "<bos>Q: Why {x}? A:", " So {y}.<eos>"),
        ("Q: {question} A: {answer}", "<bos>Q: Why {x}? A:", " So {y}.<eos>"),
        ("{question}{answer}", "<bos>Why {x}?", "So {y}.<eos>"),
        ("{{{question}}} {answer} END", "<bos>{Why {x}?}", " So {y}. END<eos>"),
        ("<bos>{question}\n{answer}<eos>", "<bos>Why {x}?\n", "So {y}.<eos>"),
    ],
)
def test_what_a_template_means(template, prompt, answer, tokenizer):
    assert texts(tokenizer, template) == (prompt, answer)


def test_the_built_in_format_is_a_template_like_any_other(tokenizer):
    built_in = tokenize_examples(QUESTIONS, tokenizer).to_list()
    for template in (QUESTION_TEMPLATE, QUESTION_TEMPLATE + " {answer}"):
        assert tokenize_examples(QUESTIONS, tokenizer, prompt_template=template).to_list() == built_in


def test_a_template_takes_the_place_of_the_chat_template(chat_tokenizer):
    assert texts(chat_tokenizer, None)[0].startswith("<user>")
    assert texts(chat_tokenizer, INSTRUCTION)[0] == "<bos>[INST] Why {x}? [/INST]"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Question:", r"must have \{question\}, and after it \{answer\} or nothing, got 'Question:'"),
        ("", r"must have \{question\}"),
        ("{answer} {question}", r"must have \{question\}, and after it"),
        ("{question} {answer} {answer}", r"must have \{question\}, and after it"),
        ("{question} {choices}", r"knows the fields \{question\} and \{answer\}, got \{choices\}"),
        ("{question} {}", r"got \{\}"),
        ("{question!r}", r"got \{question!r\}"),
        ("{question:>9}", r"got \{question:>9\}"),
        ("{question.__class__}", r"got \{question\.__class__\}"),
        ("{question", "is no format string"),
        ("{question} }", "is no format string"),
    ],
)
def test_what_is_no_template(template, message, tokenizer):
    for call in (tokenize_examples, prompt_token_ids):
        with pytest.raises(ValueError, match=message):
            call(QUESTIONS, tokenizer, prompt_template=template)


def test_a_template_is_text(tokenizer):
    with pytest.raises(TypeError, match=r"must be a string with \{question\} in it, got list"):
        tokenize_examples(QUESTIONS, tokenizer, prompt_template=["{question}"])


@pytest.mark.parametrize(
    "row",
    [{"prompt": "a", "completion": "b"}, {"text": "ab"}, {"input_ids": [1, 2], "labels": [-100, 2]}],
    ids=lambda row: "+".join(row),
)
def test_a_template_without_questions_is_refused(row, tokenizer):
    columns = r" \+ ".join(row)
    with pytest.raises(ValueError, match=f"these rows are {columns}, which are taken as they are"):
        tokenize_examples(Dataset.from_list([row]), tokenizer, prompt_template=INSTRUCTION)


def test_a_prompt_that_brings_its_start_token_gets_no_second_one(tokenizer):
    rows = Dataset.from_list([{"prompt": "<bos>ab", "completion": "c"}, {"prompt": "ab", "completion": "c"}])
    one, other = tokenize_examples(rows, tokenizer)
    assert one == other


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_question_and_answer_come_out_as_they_went_in(question, answer):
    template = parse_template("Q {question}\nA {answer} |")
    assert template.prompt(question) + template.answer(answer) == f"Q {question}\nA {answer} |"


def test_the_built_in_format_of_the_pocket_models_is_what_they_were_trained_with():
    tokenizer = pocket_tokenizer()
    assert tokenizer.decode(prompt_token_ids(QUESTIONS, tokenizer)[0]) == "<bos>Question: Why {x}?\nAnswer:"
