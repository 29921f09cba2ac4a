"""What a row says, whatever columns and order it comes in, so that one question is recognised in two data sets.

Knows columns and chat roles; no tokens, no models.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from datasets import Dataset, Value

from hf_unlearn.data._columns import COLUMN_SETS, column_format, is_understood
from hf_unlearn.data._fingerprint import stored_rows, written_out


def contents(one: Dataset, two: Dataset) -> tuple[list[str], list[str]]:
    """What the rows of two sets say, comparable with each other: equal where they say the same.

    Question and answer, prompt and completion, chat messages and running text are read in order and put together, so that a question with
    its answer equals a chat of two messages, or a text that is both. A chat's system messages do not count, nor do case, white space and
    how Unicode composes a letter; punctuation does. Rows that are tokenized already are equal in their token ids. Rows of other columns
    are equal in all columns that both sets have and that hold no numbers.

    Args:
        one: Any data set.
        two: Another.

    Raises:
        ValueError: Nothing can be compared; says what the columns are.
    """
    kinds = [column_format(each.column_names) if is_understood(each.column_names) else None for each in (one, two)]
    tokenized = [kind == "tokenized" for kind in kinds]
    if all(kinds) and all(tokenized) == any(tokenized):
        return [" ".join(pieces) for pieces in row_pieces(one)], [" ".join(pieces) for pieces in row_pieces(two)]
    shared = sorted(
        name
        for name in set(one.column_names) & set(two.column_names)
        if not _is_number(one, name) | _is_number(two, name)
    )
    if any(tokenized) or not shared:
        raise ValueError(
            f"rows with the columns {', '.join(one.column_names)} and rows with the columns {', '.join(two.column_names)} cannot be "
            "compared. Give both as question/answer, prompt/completion, messages or text, or with the same columns."
        )
    return _stored(one.select_columns(shared)), _stored(two.select_columns(shared))


def row_pieces(dataset: Dataset) -> Iterator[tuple[str, ...]]:
    """What each row says, piece by piece: question and answer, the messages of user and assistant, the text; normalised.

    Args:
        dataset: Columns of one of the understood formats.
    """
    kind = column_format(dataset.column_names)
    columns = COLUMN_SETS[kind]
    for row in dataset.with_format(None).select_columns(list(columns)):
        if kind == "tokenized":
            yield (" ".join(map(str, row["input_ids"])),)
        else:
            yield tuple(piece for name in columns for piece in _said(row[name]) if piece)


def _said(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value.get("role") != "system":
            yield from _said(value["content"] if "content" in value else _json(value))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _said(item)
    elif value is not None:
        yield normalised(str(value))


def normalised(text: str) -> str:
    """Without case, with single blanks, composed.

    Example:
        >>> normalised(" Who  is\\nADA? ")
        'who is ada?'
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _is_number(dataset: Dataset, column: str) -> bool:
    feature = dataset.features[column]
    return (not isinstance(feature, Value) and hasattr(feature, "names")) or (
        isinstance(feature, Value) and not any(word in feature.dtype for word in ("string", "binary"))
    )


def _stored(dataset: Dataset) -> list[str]:
    return [normalised(_json(row)) for row in stored_rows(dataset)]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=written_out)
