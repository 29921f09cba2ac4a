"""What a row with a question and choices says. Knows values of columns; no tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question with choices.

    Attributes:
        question: As it was given.
        choices: At least two texts.
        right: Number of the right one, from 0.
    """

    question: str
    choices: tuple[str, ...]
    right: int

    @property
    def letters(self) -> tuple[str, ...]:
        """A, B, C, …, one for each choice."""
        return tuple(ascii_uppercase[: len(self.choices)])

    @property
    def listed(self) -> str:
        r"""The question and its choices, a line each.

        Example:
            >>> ChoiceQuestion(" 1 + 1? ", ("1", "2"), 1).listed
            '1 + 1?\nA. 1\nB. 2'
        """
        lines = [f"{letter}. {text}" for letter, text in zip(self.letters, self.choices, strict=True)]
        return "\n".join([self.question.strip(), *lines])


def choice_question(row: Mapping[str, Any], index: int) -> ChoiceQuestion:
    """Read a row with `question`, `choices` and `answer`, the number of the right choice from 0 or its letter.

    Raises:
        ValueError: It is none; the index of the row is named.
    """
    question, choices, answer = row["question"], row["choices"], row["answer"]
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"Row {index}, column 'question': expected text, got {question!r:.40}.")
    if not isinstance(choices, (list, tuple)) or not all(isinstance(text, str) and text.strip() for text in choices):
        raise ValueError(f"Row {index}, column 'choices': expected a list of texts that are not empty.")
    if not 2 <= len(choices) <= len(ascii_uppercase):
        raise ValueError(f"Row {index} has {len(choices)} choices; from 2 to {len(ascii_uppercase)} have letters.")
    letters = ascii_uppercase[: len(choices)]
    if isinstance(answer, str) and len(answer.strip()) == 1 and answer.strip().upper() in letters:
        right = letters.index(answer.strip().upper())
    elif isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        right = answer
    else:
        raise ValueError(
            f"Row {index}, column 'answer': expected the number of the right choice, from 0 to {len(choices) - 1}, or its letter, from A to "
            f"{letters[-1]}; got {answer!r:.40}."
        )
    return ChoiceQuestion(question, tuple(choices), right)
