"""What a dataset holds, as one hash: for evidence, cache keys and cards. Knows values, not where they are stored."""

import datetime
import decimal
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, Features


_WRITTEN_OUT = (
    bytes,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    pd.Timestamp,
    pd.Timedelta,
)
"""Types whose `repr` is their whole content, and nothing but it."""


def data_fingerprint(dataset: Dataset) -> str:
    """SHA-256 of the rows: the same for the same content in the same order, wherever it was loaded from.

    Unlike `Dataset._fingerprint`, it does not depend on cache files, on the path of loading or on unused table columns'
    order; unlike a file's hash, it does not depend on the file format. Images, audio and video count with the bytes of their
    files, not with their paths. What is hashed is what the dataset stores: a `set_transform` is no part of it.

    Args:
        dataset: Any dataset whose values are text, numbers, lists, dictionaries, bytes, dates, or files such as images.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: Not a `datasets.Dataset`, or a column with values that have no content that could be hashed.
        OSError: A file that the dataset points to cannot be read.

    Example:
        >>> rows = Dataset.from_dict({"text": ["a", "b"]})
        >>> data_fingerprint(rows) == data_fingerprint(rows.select([1, 0]).select([1, 0]))
        True
        >>> data_fingerprint(rows) == data_fingerprint(rows.select([1, 0]))
        False
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"expected a datasets.Dataset to hash, got {type(dataset).__name__}.")
    digest = hashlib.sha256()
    columns = sorted(dataset.column_names)
    digest.update(json.dumps(columns).encode())
    for row in stored_rows(dataset):
        digest.update(b"\n" + _line([row[name] for name in columns], columns).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _line(values: list[Any], columns: list[str]) -> str:
    try:
        return _json(values, written_out)
    except _NoContentError:
        for name, value in zip(columns, values, strict=True):
            try:
                _json(value, written_out)
            except _NoContentError as error:
                raise TypeError(
                    f"column {name!r} holds values of type {error.kind}, whose content cannot be hashed. Remove the column, or "
                    "store text, numbers, bytes, arrays or images."
                ) from None
        raise


class _NoContentError(Exception):
    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


def _json(value: Any, default: Callable[[Any], Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=default)


def written_out(value: Any) -> Any:
    """Dates, bytes and the like: their type and their own full notation; arrays and tensors: their numbers."""
    if isinstance(value, _WRITTEN_OUT):
        return f"{type(value).__name__}:{value!r}"
    if hasattr(value, "tolist"):
        return value.tolist()
    raise _NoContentError(type(value).__name__)


def stored_rows(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Rows as they are stored: files are not decoded, which would give objects that are new each time."""
    files = [name for name, feature in dataset.features.items() if _holds_files(feature)]
    plain = dataset.with_format(None).remove_columns(files)
    if not files:
        yield from plain
        return
    stored = dataset.with_format("arrow").select_columns(files)
    for index in range(len(dataset)):
        row = plain[index] if plain.column_names else {}
        yield row | {name: _file_content(value, name) for name, value in stored[index].to_pylist()[0].items()}


def _holds_files(feature: Any) -> bool:
    if isinstance(feature, (dict, Features)):
        return any(map(_holds_files, feature.values()))
    if isinstance(feature, (list, tuple)):
        return any(map(_holds_files, feature))
    # Image, Audio, Video, Pdf …: they alone say how much of a file is to be embedded.
    return hasattr(feature, "embed_storage") or _holds_files(getattr(feature, "feature", None) or ())


def _file_content(value: Any, column: str) -> Any:
    if isinstance(value, list):
        return [_file_content(item, column) for item in value]
    if not isinstance(value, dict):
        return value
    if "path" not in value or "bytes" not in value:
        return {name: _file_content(item, column) for name, item in value.items()}
    content = value["bytes"]
    if content is None and value["path"] is not None:
        path = Path(value["path"])
        if not path.is_file():
            raise OSError(f"column {column!r} points to {str(path)!r}, which is no file here: its content is unknown.")
        content = path.read_bytes()
    return None if content is None else {"sha256": hashlib.sha256(content).hexdigest()}
