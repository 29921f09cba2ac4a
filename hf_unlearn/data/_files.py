"""Files of rows to datasets: JSON (a list, or one object a line), JSON lines, CSV, Parquet.

Knows file formats. Does not know which columns are wanted. Read directly and not through `load_dataset`, which would copy
every file into a cache and look for a network.
"""

import csv
import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow.parquet
from datasets import Dataset


def read_rows(path: Path) -> Dataset:
    """Read one file, by its suffix.

    Raises:
        FileNotFoundError: No such file; names similar ones beside it.
        ValueError: Unknown suffix, no rows, or content that cannot be read; names the file and, for JSON lines, the line.
    """
    path = path.expanduser()
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"Cannot read {path}: expected a file that ends in {', '.join(FILE_SUFFIXES)}.")
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}.{_similar(path)} Relative paths start at {Path.cwd()}.")
    try:
        dataset = _READERS[path.suffix.lower()](path)
    except (ValueError, pyarrow.ArrowException) as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
    if len(dataset) == 0:
        raise ValueError(f"{path} holds no rows.")
    return dataset


def _json(path: Path) -> Dataset:
    text = path.read_text(encoding="utf-8-sig")
    rows = json.loads(text) if text.lstrip().startswith("[") else _json_lines(text)
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected a list of objects, or one object a line.")
    return Dataset.from_list(rows)


def _json_lines(text: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return rows


def _csv(path: Path) -> Dataset:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a line has more or fewer fields than the header.")
    return Dataset.from_list(rows)


def _parquet(path: Path) -> Dataset:
    return Dataset.from_dict(pyarrow.parquet.read_table(path).to_pydict())


_READERS: dict[str, Callable[[Path], Dataset]] = {".json": _json, ".jsonl": _json, ".csv": _csv, ".parquet": _parquet}
FILE_SUFFIXES = tuple(_READERS)


def _similar(path: Path) -> str:
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist either."
    names = get_close_matches(path.name, [file.name for file in path.parent.iterdir()], n=3)
    return f" Did you mean {' or '.join(names)}?" if names else ""
