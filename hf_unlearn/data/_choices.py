"""Questions with choices: what a row says, how it is put, and its choices as token ids. As lm-evaluation-harness puts WMDP and MMLU."""

from dataclasses import dataclass

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from hf_unlearn.data._collation import divided_ids, start_token_ids, started
from hf_unlearn.data._collator import bare_tokenizer
from hf_unlearn.data._columns import COLUMN_SETS
from hf_unlearn.data._questions import choice_question
from hf_unlearn.data._template import CHOICES_TEMPLATE, QUESTION_TEMPLATE, parse_template
from hf_unlearn.functional import IGNORE_INDEX


FORMS = ("letters", "texts")
"""How a choice is said: by its letter, after all choices were listed; or as it stands, after the question alone."""


@dataclass(frozen=True)
class Choice:
    """One choice of one question.

    Attributes:
        example: Number of the question.
        number: Of the choice, from 0.
        is_right: Whether it is the right one.
        num_bytes: Of its text in UTF-8.
        tokens: `input_ids` and `labels`; without an end token, since what follows a choice says nothing about it.
    """

    example: int
    number: int
    is_right: bool
    num_bytes: int
    tokens: dict[str, list[int]]


def tokenize_choices(
    dataset: Dataset,
    processing_class: PreTrainedTokenizerBase | ProcessorMixin,
    *,
    form: str = "letters",
    prompt_template: str | None = None,
) -> list[Choice]:
    r"""Every choice of every question as token ids, labels on the choice only.

    Question and choice are tokenized as one text and divided where the question's own tokens end, as lm-evaluation-harness does; where a
    tokenizer joins the two, all choices of that question are tokenized apart from it. There is no chat template unless one is part of `prompt_template`.

    Args:
        dataset: Columns `question`, `choices` and `answer`.
        processing_class: The tokenizer, or a processor that holds one.
        form: `letters`: the question, a line for each choice ("A. …"), "Answer:", and the letter; `texts`: as
            `QUESTION_TEMPLATE` puts the question, and the choice itself.
        prompt_template: How it is put instead, `{question}` standing for the question and, in the form `letters`, its choices.

    Returns:
        The choices of the first question, of the second, and so on.

    Raises:
        ValueError: A row that is no question with choices (its index is named), an unknown form, or a template that is none.

    Example:
        >>> from hf_unlearn.data import pocket_tokenizer
        >>> rows = Dataset.from_dict({"question": ["1 + 1?"], "choices": [["1", "2"]], "answer": [1]})
        >>> [(choice.number, choice.is_right) for choice in tokenize_choices(rows, pocket_tokenizer())]
        [(0, False), (1, True)]
    """
    if form not in FORMS:
        raise ValueError(f"a choice is said in one of the forms {', '.join(FORMS)}, got {form!r}.")
    letters = form == "letters"
    template = parse_template(prompt_template or (CHOICES_TEMPLATE if letters else QUESTION_TEMPLATE))
    tokenizer = bare_tokenizer(processing_class)
    start, found = start_token_ids(tokenizer), []
    for index, row in enumerate(dataset.select_columns(list(COLUMN_SETS["choices"]))):
        asked = choice_question(row, index)
        prompt = template.prompt(asked.listed if letters else asked.question.strip())
        said = [template.before + text for text in (asked.letters if letters else asked.choices)]
        for number, (before, after) in enumerate(divided_ids(tokenizer, [(prompt, text) for text in said])):
            begun = started(start, before)
            if not begun or not after:
                raise ValueError(f"Row {index} has a choice, or a prompt, without any token. Drop or fill it.")
            tokens = {"input_ids": begun + after, "labels": [IGNORE_INDEX] * len(begun) + after}
            found.append(Choice(index, number, number == asked.right, len(asked.choices[number].encode()), tokens))
    return found
