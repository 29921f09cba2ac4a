"""What a dataset holds, as one hash: for evidence, cache keys and cards. Knows values, not where they are stored."""

import hashlib
import json
from typing import Any

from datasets import Dataset


def data_fingerprint(dataset: Dataset) -> str:
    """SHA-256 of the rows: the same for the same content in the same order, wherever it was loaded from.

    Unlike `Dataset._fingerprint`, it does not depend on cache files, on the path of loading or on unused table columns'
    order; unlike a file's hash, it does not depend on the file format.

    Args:
        dataset: Any dataset whose values are text, numbers, lists and dictionaries.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> rows = Dataset.from_dict({"text": ["a", "b"]})
        >>> data_fingerprint(rows) == data_fingerprint(rows.select([1, 0]).select([1, 0]))
        True
        >>> data_fingerprint(rows) == data_fingerprint(rows.select([1, 0]))
        False
    """
    digest = hashlib.sha256()
    columns = sorted(dataset.column_names)
    digest.update(json.dumps(columns).encode())
    for row in dataset.with_format(None):
        line = json.dumps([row[name] for name in columns], sort_keys=True, ensure_ascii=False, default=_unusual)
        digest.update(b"\n" + line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _unusual(value: Any) -> str:
    """Dates, bytes and the like: their type and their own full notation."""
    return f"{type(value).__name__}:{value!r}"
