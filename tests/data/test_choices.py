"""Questions with choices: what rows say, how they are put, and where the choice begins in token ids, as lm-evaluation-harness has it."""

from typing import Any

import pytest
from datasets import Dataset
from toys import CHOICE_TEXTS as TEXTS
from toys import QUESTIONS_WITH_CHOICES as ROWS
from toys import byte_level, marked_words

from hf_unlearn.data import tokenize_choices, tokenize_examples
from hf_unlearn.data._columns import column_format
from hf_unlearn.data._questions import choice_question


def test_listed_as_the_harness_lists_them() -> None:
    asked = choice_question(ROWS[0], 0)
    assert asked.listed == "What is it?\nA. a cat\nB. a dog\nC. ein Vögelchen" and asked.letters == ("A", "B", "C")


@pytest.mark.parametrize("make", [byte_level, marked_words])
@pytest.mark.parametrize("form", ["letters", "texts"])
def test_question_and_choice_are_one_text(make: Any, form: str) -> None:
    """The ids are those of the whole text, so that no tokenizer's mark of a beginning is doubled; the prompt is the same in all choices of a question."""
    tokenizer = make(*TEXTS)
    found = tokenize_choices(Dataset.from_list(ROWS), tokenizer, form=form)
    assert [(choice.example, choice.number, choice.is_right) for choice in found] == [
        *((0, 0, False), (0, 1, False), (0, 2, True)),
        *((1, 0, False), (1, 1, True)),
    ]
    assert found[2].num_bytes == len("ein Vögelchen".encode()) == 14
    for choice in found:
        row = ROWS[choice.example]
        asked = choice_question(row, 0)
        prompt = asked.listed + "\nAnswer:" if form == "letters" else f"Question: {row['question'].strip()}\nAnswer:"
        said = asked.letters[choice.number] if form == "letters" else asked.choices[choice.number]
        whole = tokenizer(f"{prompt} {said}", add_special_tokens=False)["input_ids"]
        start = [] if make is byte_level else [tokenizer.bos_token_id]
        assert choice.tokens["input_ids"] == start + whole
        begun = choice.tokens["labels"].index(next(label for label in choice.tokens["labels"] if label != -100))
        assert tokenizer.decode(choice.tokens["input_ids"][begun:]).strip() == said
        assert choice.tokens["labels"][begun:] == choice.tokens["input_ids"][begun:], "no end token"
    prompts = {
        tuple(i for i, label in zip(c.tokens["input_ids"], c.tokens["labels"], strict=True) if label == -100)
        for c in found
        if c.example == 0
    }
    assert len(prompts) == 1


def test_where_a_tokenizer_joins_question_and_choice_all_are_tokenized_apart() -> None:
    """A template without a space: "x" + "ab" is one token of "xab", which no choice begins."""
    tokenizer = byte_level(*["xab xab xab xac"] * 20)
    assert len(tokenizer("xab")["input_ids"]) < len(tokenizer("x")["input_ids"]) + len(tokenizer("ab")["input_ids"])
    rows = Dataset.from_list([{"question": "x", "choices": ["ab", "q"], "answer": 0}])
    found = tokenize_choices(rows, tokenizer, form="texts", prompt_template="{question}{answer}")
    assert [tokenizer.decode([i for i in choice.tokens["labels"] if i != -100]) for choice in found] == ["ab", "q"]


def test_a_chat_template_does_not_change_how_choices_are_put() -> None:
    """As in the harness; the answer of such a row is the right choice's letter, with its end token."""
    tokenizer = byte_level(*TEXTS)
    rows = Dataset.from_list(ROWS)
    plain = (tokenize_examples(rows, tokenizer).to_list(), tokenize_choices(rows, tokenizer))
    tokenizer.chat_template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    assert (tokenize_examples(rows, tokenizer).to_list(), tokenize_choices(rows, tokenizer)) == plain
    answers = [tokenizer.decode([i for i in row["labels"] if i != -100]) for row in plain[0]]
    assert answers == [" C</s>", " B</s>"]
    assert column_format(rows.column_names) == "choices"


def test_a_template_has_question_and_choices_for_its_question() -> None:
    tokenizer = byte_level(*TEXTS)
    rows = Dataset.from_list(ROWS[1:])
    (first, _) = tokenize_choices(rows, tokenizer, prompt_template="[{question}] ->")
    assert tokenizer.decode(first.tokens["input_ids"], skip_special_tokens=True) == "[Yes?\nA. no\nB. yes] -> A"
    with pytest.raises(ValueError, match=r"must have \{question\}"):
        tokenize_choices(rows, tokenizer, prompt_template="no field")
    with pytest.raises(ValueError, match="letters, texts, got 'numbers'"):
        tokenize_choices(rows, tokenizer, form="numbers")


@pytest.mark.parametrize(("answer", "right"), [(0, 0), ("A", 0), (" b ", 1), (1, 1)])
def test_a_right_choice_is_a_number_or_a_letter(answer: Any, right: int) -> None:
    assert choice_question({"question": "q", "choices": ["x", "y"], "answer": answer}, 0).right == right


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            ({"answer": answer}, "from 0 to 1, or its letter, from A to B; got")
            for answer in (2, -1, "C", "", None, 1.0, True, "1", "ab")
        ),
        *(({"choices": choices}, "expected a list of texts") for choices in (["x", ""], ["x", None], "xy", None)),
        ({"choices": ["x"]}, "has 1 choices"),
        ({"choices": ["x"] * 27}, "has 27 choices"),
        *(({"question": question}, "'question': expected text") for question in ("", " ", None)),
    ],
)
def test_what_is_no_question_with_choices_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"Row 7.*{message}"):
        choice_question({"question": "q", "choices": ["x", "y"], "answer": 0} | change, 7)
