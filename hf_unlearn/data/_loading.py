"""One way in for data, however it is given: a dataset, a specification, or a file.

Knows the notations and checks what comes out (rows, columns) before anything expensive. Does not know token ids.
"""

import os
from pathlib import Path
from typing import TypeAlias

from datasets import Dataset, DatasetDict

from hf_unlearn.data._columns import column_format, require_rows, untransformed
from hf_unlearn.data._files import FILE_SUFFIXES, read_rows
from hf_unlearn.data._pocket import load_pocket
from hf_unlearn.data._sources import read_configuration
from hf_unlearn.data._tofu import load_tofu


DataLike: TypeAlias = Dataset | DatasetDict | str | os.PathLike[str]
"""What `load_data` accepts."""

_POCKET_SPLITS = ("retain", "forget", "forget_ood", "forget_request", "holdout")


def load_data(data: DataLike, *, split: str = "train") -> Dataset:
    """Load a set of examples and check that it can be used.

    Args:
        data: A dataset; a JSON, JSONL, CSV or Parquet file; a Hub id or a local folder, with a configuration after a colon
            (`"locuslab/TOFU:forget10"`); `"tofu:forget10"`, the same with the perturbed answers joined;
            `"pocket:forget"`, or `"pocket-nano:forget"` for the small one of the tests.
        split: Which split of a Hub dataset or `DatasetDict`.

    Returns:
        With at least one row, and with the columns of one of the formats of `tokenize_examples`.

    Raises:
        TypeError: Neither of these.
        FileNotFoundError: No such file, folder, dataset or configuration; names similar ones.
        ValueError: No rows, unreadable content, or columns that are not understood (which were found, which are understood).

    Example:
        >>> load_data("pocket-nano:forget").num_rows
        18
    """
    dataset = untransformed(open_data(data, split=split))
    column_format(dataset.column_names)
    return dataset


def open_data(data: DataLike, *, split: str = "train") -> Dataset:
    """The same, whatever the columns are (of classifiers), and with its transform still to come.

    Raises:
        TypeError, FileNotFoundError, ValueError: As for `load_data`, columns apart.
    """
    if isinstance(data, DatasetDict):
        if split not in data:
            raise ValueError(f"No split {split!r} in the DatasetDict; it has: {', '.join(data)}. Pass split=...")
        dataset = data[split]
    elif isinstance(data, (str, os.PathLike)):
        dataset = _from_text(os.fspath(data), split)
    else:
        dataset = data
    require_rows(dataset)
    return dataset


def _from_text(text: str, split: str) -> Dataset:
    if not text.strip():
        raise ValueError("An empty string names no data. Give a file, a folder, a Hub id or `pocket:forget`.")
    path = Path(text).expanduser()
    if path.is_file() or path.suffix.lower() in FILE_SUFFIXES:
        return read_rows(path)
    # The last colon: a Windows path has one of its own in front.
    source, colon, name = (text, "", "") if path.is_dir() else text.rpartition(":")
    if not colon:
        return read_configuration(text, None, split=split)
    if source in ("pocket", "pocket-nano", "pocket-small"):
        return _pocket_split(source, name)
    return load_tofu(name) if source == "tofu" else read_configuration(source, name, split=split)


def _pocket_split(source: str, name: str) -> Dataset:
    if name not in _POCKET_SPLITS:
        raise ValueError(f"Unknown pocket split {name!r}. Choose one of: {', '.join(_POCKET_SPLITS)}.")
    return getattr(load_pocket(source.removeprefix("pocket").removeprefix("-") or "small"), name)
