"""What a row asks, whatever its format, and the same row with another question. Knows formats; no names and no tokenizer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from datasets import Dataset

from hf_unlearn.data._columns import COLUMN_SETS, column_format


ASKING = {"question": ("question", "answer"), "completion": ("prompt", "completion"), "messages": ("messages",)}
"""Formats whose rows ask something -> the columns of question and answer."""


def asked_questions(rows: Dataset) -> tuple[list[str], list[str]]:
    """What each row asks, and what else stands in its conversation before the answer.

    Args:
        rows: With question/answer, prompt/completion or messages.

    Raises:
        ValueError: Rows that ask nothing: running text, token ids, questions with choices, a conversation without the user.

    Example:
        >>> asked_questions(Dataset.from_dict({"question": ["Why?"], "answer": ["So."]}))
        (['Why?'], [''])
    """
    name = column_format(rows.column_names)
    if name not in ASKING:
        raise ValueError(
            f"counterfactual questions need rows with a question that names its subject; these are {' + '.join(COLUMN_SETS[name])}. Give "
            "question + answer, prompt + completion or messages."
        )
    asked = [_asked(value, name == "messages", at) for at, value in enumerate(rows[ASKING[name][0]])]
    return [question for question, _ in asked], [before for _, before in asked]


def texts_asked(rows: Dataset) -> list[str]:
    """The same of a set that may also hold something else: "" where a row asks nothing, and nothing where no row does."""
    name = column_format(rows.column_names)
    if name not in ASKING:
        return []
    return [_last_asked(value, name == "messages") or "" for value in rows[ASKING[name][0]]]


def answer_texts(rows: Dataset) -> list[str]:
    """Every text of each row's answer."""
    column = ASKING[column_format(rows.column_names)][-1]
    answers = [value[-1:] if column == "messages" else value for value in rows[column]]
    return ["\n".join(strings(answer)) for answer in answers]


def _asked(value: Any, ends_with_answer: bool, at: int) -> tuple[str, str]:
    question = _last_asked(value, ends_with_answer)
    if question is None:
        raise ValueError(f"Row {at} has no message of the user's that is text, so that nothing is asked.")
    if isinstance(value, str):
        return value, ""
    messages = value[:-1] if ends_with_answer else value
    last = _last_of_user(messages)
    return question, "\n".join(strings([message for number, message in enumerate(messages) if number != last]))


def _last_asked(value: Any, ends_with_answer: bool) -> str | None:
    if isinstance(value, str):
        return value
    messages = list(value or ())[: -1 if ends_with_answer else None]
    last = _last_of_user(messages)
    content = None if last is None else messages[last].get("content")
    return content if isinstance(content, str) else None


def _last_of_user(messages: Sequence[dict[str, Any]]) -> int | None:
    return next((at for at in reversed(range(len(messages))) if messages[at].get("role") == "user"), None)


def asked_otherwise(rows: Dataset, wanted: Sequence[tuple[int, str, Callable[[str], str]]]) -> Dataset:
    """Rows with other questions, in their own format, with nothing but its columns.

    Args:
        rows: As for `asked_questions`.
        wanted: Number of a row, what is asked instead, and what becomes of its answer's text.

    Returns:
        One row for each wanted.

    Raises:
        ValueError: Rows that ask nothing.

    Example:
        >>> rows = Dataset.from_dict({"prompt": ["Is Ana here?"], "completion": ["Ana is."]})
        >>> asked_otherwise(rows, [(0, "Is Ida here?", lambda answer: answer.replace("Ana", "Ida"))])[0]
        {'prompt': 'Is Ida here?', 'completion': 'Ida is.'}
    """
    asked_questions(rows.select(range(min(1, len(rows)))))
    columns = ASKING[column_format(rows.column_names)]
    plain = rows.with_format(None).select_columns(list(columns))
    made = []
    for at, question, change in wanted:
        row = plain[at]
        if len(columns) == 1:
            talk = row["messages"]
            made.append({"messages": _with_question(talk[:-1], question) + _with_answer(talk[-1:], change)})
        else:
            first, last = columns
            made.append({first: _with_question(row[first], question), last: _with_answer(row[last], change)})
    return Dataset.from_list(made, features=plain.features)


def _with_question(value: Any, question: str) -> Any:
    if isinstance(value, str):
        return question
    last = _last_of_user(value)
    return [{**message, "content": question} if at == last else message for at, message in enumerate(value)]


def _with_answer(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    return [
        {**message, "content": change(message["content"])} if isinstance(message.get("content"), str) else message
        for message in value
    ]


def strings(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def all_texts(dataset: Dataset, *, trained_on: bool = False) -> Iterator[str]:
    """Every text of every row, or, where `trained_on`, of the columns that a model learns from."""
    columns = list(COLUMN_SETS[column_format(dataset.column_names)]) if trained_on else dataset.column_names
    for row in dataset.with_format(None).select_columns(columns):
        yield from strings(row)
