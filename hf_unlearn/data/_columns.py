"""Which columns a dataset may come with, and what its rows mean: a prompt and the answer that follows it.

Knows column names and chat roles. Does not know token ids: what is returned is text, or chat
messages that a template will turn into text.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeAlias

from datasets import Dataset

from hf_unlearn.data._questions import choice_question
from hf_unlearn.data._template import CHOICES_TEMPLATE, QUESTION_TEMPLATE, PromptTemplate, parse_template


COLUMN_SETS: dict[str, tuple[str, ...]] = {
    "tokenized": ("input_ids", "labels"),
    "messages": ("messages",),
    "completion": ("prompt", "completion"),
    "choices": ("question", "choices", "answer"),
    "question": ("question", "answer"),
    "text": ("text",),
}
"""Name of a format -> the columns that make it. Where a dataset has several, the first of this order counts."""

Messages: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class Exchange:
    """One row, before tokenization. Both sides are text, or both are chat messages; `prompt` is None for running text."""

    prompt: str | Messages | None
    answer: str | Messages


def column_format(column_names: Sequence[str]) -> str:
    """Which format the columns make.

    Args:
        column_names: As in `dataset.column_names`; further columns do no harm.

    Returns:
        A key of `COLUMN_SETS`.

    Raises:
        ValueError: No known set of columns is complete; says which were found, which are understood, and the likely typo.

    Example:
        >>> column_format(["person_id", "question", "answer"])
        'question'
    """
    for name, needed in COLUMN_SETS.items():
        if set(needed) <= set(column_names):
            return name
    understood = "; ".join(" + ".join(needed) for needed in COLUMN_SETS.values())
    raise ValueError(
        f"None of the understood columns are complete. Found: {', '.join(column_names) or 'no columns'}. "
        f"Understood: {understood}.{_did_you_mean(column_names)} Rename with `dataset.rename_column(old, new)`."
    )


def is_understood(column_names: Sequence[str]) -> bool:
    """Whether the columns make one of the formats."""
    return any(set(needed) <= set(column_names) for needed in COLUMN_SETS.values())


@contextmanager
def about(name: str) -> Iterator[None]:
    """Inside, errors about data say which set they are about.

    Example:
        >>> with about("retain"):
        ...     raise ValueError("no rows.")
        Traceback (most recent call last):
        ...
        ValueError: retain: no rows.
    """
    try:
        yield
    except (TypeError, ValueError, FileNotFoundError, ConnectionError) as error:
        if type(error) not in (TypeError, ValueError, FileNotFoundError, ConnectionError):
            raise  # others are made of more than a message
        raise type(error)(f"{name}: {error}") from error


def require_rows(dataset: Dataset) -> None:
    """Refuse what is no `Dataset`, and a dataset without rows, before anything is done with it.

    Raises:
        TypeError: Not a `datasets.Dataset`.
        ValueError: No rows.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"Expected a datasets.Dataset, got {type(dataset).__name__}. Use `load_data(...)` for files and Hub ids, "
            "`Dataset.from_list(rows)` for rows, and pick one split of a DatasetDict."
        )
    if len(dataset) == 0:
        raise ValueError("The dataset has no rows. Check the split, the configuration and any filter before it.")


def untransformed(dataset: Dataset) -> Dataset:
    """What the rows are: with a transform (`set_transform`) what it gives, once; in another format the plain values."""
    if dataset.format["type"] != "custom":
        return dataset
    return Dataset.from_list([dict(dataset[index]) for index in range(len(dataset))])


def exchanges(dataset: Dataset, *, chat: bool, prompt_template: str | None = None) -> Iterator[Exchange]:
    """Read every row as a prompt and its answer.

    Args:
        dataset: Any format of `COLUMN_SETS` but the tokenized one.
        chat: Whether there is a chat template: questions become a user's message and answers the assistant's; questions with choices do not,
            as in lm-evaluation-harness.
        prompt_template: How questions are put instead, see `parse_template`.

    Yields:
        One `Exchange` per row, in order.

    Raises:
        ValueError: A row that does not hold what its columns promise (its index is named); a template that is none, or one for rows
            that hold no questions.
    """
    name = column_format(dataset.column_names)
    check_template(name, prompt_template)
    built_in = CHOICES_TEMPLATE if name == "choices" else QUESTION_TEMPLATE
    template = parse_template(built_in if prompt_template is None else prompt_template)
    readers: dict[str, Callable[[dict[str, Any], int], Exchange]] = {
        "choices": partial(_choices, template=template),
        "question": _question,
        "completion": _completion,
        "messages": _messages,
        "text": _text,
    }
    read = readers[name]
    for index, row in enumerate(dataset.select_columns(list(COLUMN_SETS[name]))):
        exchange = read(row, index)
        if name == "question":
            question, answer = row["question"], row["answer"]
            if chat and prompt_template is None:
                exchange = Exchange(
                    [{"role": "user", "content": question}], [{"role": "assistant", "content": answer}]
                )
            else:
                exchange = Exchange(template.prompt(question), template.answer(answer))
        if not chat and not isinstance(exchange.answer, str):
            raise ValueError(
                f"Row {index} holds chat messages, but the tokenizer has no chat template. Set "
                "`tokenizer.chat_template`, or give the text as prompt/completion or question/answer."
            )
        yield exchange


def check_template(name: str, prompt_template: str | None) -> None:
    """Refuse a template for rows whose prompts it could not change.

    Raises:
        ValueError: The format has no question.
    """
    if prompt_template is not None and name not in ("question", "choices"):
        raise ValueError(
            f"prompt_template says how questions are put, but these rows are {' + '.join(COLUMN_SETS[name])}, which are taken as they "
            "are. Leave prompt_template out, or give question + answer."
        )


def _question(row: dict[str, Any], index: int) -> Exchange:
    question, answer = _string(row, "question", index), _string(row, "answer", index)
    if not answer.strip():
        raise ValueError(f"Row {index} has an empty answer: there is nothing to score. Drop the row or fill it in.")
    return Exchange(question, answer)


def _choices(row: dict[str, Any], index: int, template: PromptTemplate) -> Exchange:
    """The answer is the right choice's letter."""
    asked = choice_question(row, index)
    return Exchange(template.prompt(asked.listed), template.answer(asked.letters[asked.right]))


def _completion(row: dict[str, Any], index: int) -> Exchange:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        if not prompt or not completion or completion[0].get("role") != "assistant":
            raise ValueError(
                f"Row {index}: a prompt of chat messages needs at least one message and a completion that starts with "
                "the assistant's."
            )
        _check_said(completion[:1], index)
        return Exchange(prompt, completion)
    return Exchange(_string(row, "prompt", index), _string(row, "completion", index))


def _messages(row: dict[str, Any], index: int) -> Exchange:
    messages = row["messages"]
    if not isinstance(messages, list) or len(messages) < 2 or messages[-1].get("role") != "assistant":
        raise ValueError(
            f"Row {index}: `messages` must be a list of at least two messages that ends with the assistant's; the last "
            "message is the answer."
        )
    _check_said(messages[-1:], index)
    return Exchange(messages[:-1], messages[-1:])


def _check_said(answer: Messages, index: int) -> None:
    """A template turns an empty message, or None, into tokens that nobody said."""
    for message in answer:
        content = message.get("content")
        if not (content.strip() if isinstance(content, str) else content) and not message.get("tool_calls"):
            raise ValueError(
                f"Row {index} has an empty answer: there is nothing to score. Drop the row or fill it in."
            )


def _text(row: dict[str, Any], index: int) -> Exchange:
    return Exchange(None, _string(row, "text", index))


def _string(row: dict[str, Any], column: str, index: int) -> str:
    value = row[column]
    if not isinstance(value, str):
        raise ValueError(f"Row {index}, column {column!r}: expected text, got {type(value).__name__}.")
    return value


def _did_you_mean(column_names: Sequence[str]) -> str:
    known = sorted({column for needed in COLUMN_SETS.values() for column in needed})
    guesses = {name: get_close_matches(name.lower(), known, n=1, cutoff=0.7) for name in column_names}
    pairs = [f"{match[0]!r} for {name!r}" for name, match in guesses.items() if match and match[0] != name]
    return f" Did you mean {', '.join(pairs)}?" if pairs else ""
