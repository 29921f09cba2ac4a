"""A dataset's configuration from a local folder or from the Hub.

Knows folders of files and Hub ids. Does not know which columns are wanted.
"""

import os
from difflib import get_close_matches
from pathlib import Path

from datasets import Dataset, load_dataset

from hf_unlearn.data._files import FILE_SUFFIXES, read_rows


def read_configuration(path_or_id: str | os.PathLike[str], name: str | None, *, split: str) -> Dataset:
    """One configuration of a dataset.

    Args:
        path_or_id: A folder with a file per configuration (`<name>.json`, `.jsonl`, `.csv`, `.parquet`), or a Hub id.
        name: The configuration; None for a Hub dataset that has only one.
        split: Of a Hub dataset.

    Raises:
        FileNotFoundError: The folder has no such configuration, or there is neither such a folder nor such a dataset.
        ValueError: The Hub dataset has no such configuration or split.
        ConnectionError: The Hub cannot be reached.
    """
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        return read_rows(_configuration_file(folder, name))
    if _looks_like_path(os.fspath(path_or_id)):
        raise FileNotFoundError(f"No folder {folder}. Relative paths start at {Path.cwd()}.")
    asked = f"{os.fspath(path_or_id)!r}, configuration {name!r}, split {split!r}"
    try:
        return load_dataset(os.fspath(path_or_id), name, split=split)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"No local folder and no Hub dataset {asked}: {error}") from error
    except ConnectionError as error:
        raise ConnectionError(
            f"Cannot reach the Hub for {asked}: {error}. Give a local folder or file instead, or run once while online."
        ) from error
    except ValueError as error:
        raise ValueError(f"Cannot load {asked}: {error}") from error


def _configuration_file(folder: Path, name: str | None) -> Path:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in FILE_SUFFIXES)
    chosen = [path for path in files if name is None or path.stem == name]
    if len(chosen) == 1:
        return chosen[0]
    found = ", ".join(path.name for path in files) or "no data files"
    if name is None or chosen:
        raise FileNotFoundError(f"{folder}: expected one data file or `folder:name`, found {found}.")
    guesses = get_close_matches(name, [path.stem for path in files], n=1)
    hint = f" Did you mean {guesses[0]!r}?" if guesses else ""
    raise FileNotFoundError(f"{folder} has no configuration {name!r}.{hint} Found: {found}.")


def _looks_like_path(text: str) -> bool:
    """Hub ids are `name` or `owner/name`."""
    return text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text
