"""The rows of a source: found in a folder or on the Hub, and given the columns that an audit understands. Knows no benchmark."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from hf_unlearn.benchmarks._spec import Source
from hf_unlearn.data import open_data
from hf_unlearn.data._files import FILE_SUFFIXES, read_rows
from hf_unlearn.data._sources import read_configuration


SHOWN = 8
"""Names of files or values in an error."""
PERSON = "person_id"


def source_rows(source: Source, place: str | None) -> Dataset:
    """The rows, as an audit takes them.

    Args:
        source: Where they are, and what they look like.
        place: The benchmark's data set: a folder or a Hub id; None where the source names its own.

    Raises:
        FileNotFoundError: They are not there; says where they were looked for.
        ValueError: They do not look as the benchmark says.
        ConnectionError: The Hub cannot be reached.
    """
    rows = _opened(source, place)
    if source.nested is not None:
        rows = _nested(rows, source.nested)
    for column, value in source.where.items():
        rows = _chosen(rows, column, value)
    rows = _renamed(rows, source)
    if source.group is not None:
        rows = rows.add_column(PERSON, [f"{source.name or 'person'}-{at // source.group}" for at in range(len(rows))])
    return rows


def _opened(source: Source, place: str | None) -> Dataset:
    if place is not None and Path(place).expanduser().is_dir():
        found = _in_folder(Path(place).expanduser(), source)
        if found is not None:
            return found
        if source.data is None:
            raise FileNotFoundError(_not_there(Path(place).expanduser(), source))
    where = source.data or place
    if where is None:
        raise ValueError("nothing says where the rows are: give data=, a folder or a Hub id.")
    if source.name is None:
        return open_data(where, split=source.split)
    try:
        return read_configuration(where, source.name, split=source.split)
    except ValueError as error:
        if "BuilderConfig" in str(error):  # a configuration that is not there is not there, on the Hub as in a folder
            raise FileNotFoundError(str(error)) from error
        raise


def _in_folder(folder: Path, source: Source) -> Dataset | None:
    for pattern in _patterns(source):
        files = sorted(
            path for path in folder.glob(pattern + ".*") if path.suffix.lower() in FILE_SUFFIXES and path.is_file()
        )
        if len(files) > 1 and not pattern.endswith("*"):
            raise ValueError(f"{folder} has {' and '.join(path.name for path in files)}; keep one of them.")
        if files:
            return concatenate_datasets([read_rows(path) for path in files])
    return None


def _patterns(source: Source) -> Iterable[str]:
    if source.files or source.name is None:
        return source.files
    return (source.name, f"{source.name}/{source.split}", f"{source.name}/{source.split}-*")


def _not_there(folder: Path, source: Source) -> str:
    found = sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in FILE_SUFFIXES
    )
    wanted = list(_patterns(source))
    close = get_close_matches(wanted[0], found, n=1) if wanted else []
    hint = f" Did you mean {close[0]!r}?" if close else ""
    more = ", …" if len(found) > SHOWN else ""
    return (
        f"{folder} has none of {', '.join(wanted)} (each with one of {', '.join(FILE_SUFFIXES)}).{hint} "
        f"Found: {', '.join(found[:SHOWN]) or 'no data files'}{more}."
    )


def _nested(rows: Dataset, column: str) -> Dataset:
    """Rows that the Hub keeps as lists in one cell; files of a repository have them as rows already."""
    if column not in rows.column_names:
        return rows
    found = [dict(part) for row in rows[column] for part in row]
    if not found:
        raise ValueError(f"column {column!r} holds no rows.")
    return Dataset.from_list(found)


def _chosen(rows: Dataset, column: str, value: str) -> Dataset:
    if column not in rows.column_names:
        raise ValueError(
            f"there is no column {column!r} to choose by; the columns are {', '.join(rows.column_names)}."
        )
    kept = [at for at, found in enumerate(rows[column]) if str(found) == value]
    if not kept:
        values = sorted(set(map(str, rows[column])))
        close = get_close_matches(value, values, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"no row has {column} = {value!r}.{hint} There are {', '.join(values[:SHOWN])}"
            f"{f' and {len(values) - SHOWN} more' if len(values) > SHOWN else ''}."
        )
    return rows.select(kept).remove_columns(column)


def _renamed(rows: Dataset, source: Source) -> Dataset:
    """Columns as an audit calls them; what they were called is gone, so that no format is seen that is not meant."""
    missing = [found for found in source.columns.values() if found not in rows.column_names]
    if missing:
        raise ValueError(
            f"there is no column {missing[0]!r}, as the benchmark says; the columns are {', '.join(rows.column_names)}."
        )
    if not (source.columns or source.constants):
        return rows
    plain: dict[str, Any] = {
        name: list(rows[name]) for name in rows.column_names if name not in source.columns.values()
    }
    plain |= {wanted: list(rows[found]) for wanted, found in source.columns.items()}
    plain |= {name: [value] * len(rows) for name, value in source.constants.items()}
    return Dataset.from_dict(plain)
