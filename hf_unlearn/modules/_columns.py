"""Values that a module is handed, one a row: checked before Evaluate sees them, which would turn 1.5 into 1 and "2" into 2."""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

from hf_unlearn.modules._spec import Input


@dataclass(frozen=True)
class Kind:
    """Of the values of a column.

    Attributes:
        feature: What Evaluate stores.
        check: Takes a place such as `scores[3]`, a value and its input; gives the plain value or raises.
    """

    feature: Callable[[], Any]
    check: Callable[[str, Any, Input], Any]


ROUNDING = 1e-5
"""By which a log-probability of float32 may be above 0 without being none."""


def _number(place: str, value: Any, given: Input) -> float:
    value = _scalar(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{place} must be a number, got {value!r}.")
    found = float(value)
    if math.isnan(found):
        raise ValueError(
            f"{place} is NaN: the model that gave it has no value there. Leave the row out, or find out why."
        )
    if given.least is not None and found < given.least:
        raise ValueError(f"{place} must be at least {given.least:g}, got {found:g}. Expected: {given.meaning}.")
    if given.most is not None and found > given.most + ROUNDING:
        raise ValueError(f"{place} must be at most {given.most:g}, got {found:g}. Expected: {given.meaning}.")
    return found if given.most is None else min(found, given.most)


def _numbers(place: str, value: Any, given: Input) -> list[float]:
    return [_number(f"{place}[{at}]", each, given) for at, each in enumerate(_filled(place, value))]


def _tokens(place: str, value: Any, given: Input) -> list[int]:
    found = _filled(place, value)
    for at, each in enumerate(map(_scalar, found)):
        if not isinstance(each, numbers.Integral) or isinstance(each, bool):
            raise TypeError(f"{place}[{at}] must be a token id, a whole number, got {each!r}.")
        if each < 0:
            raise ValueError(
                f"{place}[{at}] is {each}, which is no token id; leave masked positions (labels of -100) out, on both sides."
            )
    return [int(each) for each in found]


def _text(place: str, value: Any, given: Input) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{place} must be a text, got {value!r}.")
    return value


def _switch(place: str, value: Any, given: Input) -> bool:
    value = _scalar(value)
    if isinstance(value, (bool, numbers.Real)) and value in (0, 1):
        return bool(value)
    raise TypeError(f"{place} must be True or False, or 1 or 0, got {value!r}.")


def _scalar(value: Any) -> Any:
    """A number of Python's own, of NumPy's or torch's."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def _filled(place: str, value: Any) -> list:
    found = plain_list(place, value)
    if not found:
        raise ValueError(f"{place} is empty.")
    return found


KINDS: Mapping[str, Kind] = {
    "number": Kind(lambda: datasets.Value("float64"), _number),
    "numbers": Kind(lambda: datasets.Sequence(datasets.Value("float64")), _numbers),
    "tokens": Kind(lambda: datasets.Sequence(datasets.Value("int64")), _tokens),
    "text": Kind(lambda: datasets.Value("string"), _text),
    "switch": Kind(lambda: datasets.Value("bool"), _switch),
}


def plain_list(name: str, value: Any) -> list:
    """Values as a list: of a list, an array, a tensor of any precision, a column.

    Raises:
        TypeError: One value, a text, or a table.
    """
    if hasattr(value, "column_names") or hasattr(value, "columns") or isinstance(value, Mapping):
        raise TypeError(f"{name} must be a list of values, got a {type(value).__name__}: pass one of its columns.")
    if hasattr(value, "tolist"):  # NumPy, torch (bfloat16 too), pandas
        value = value.tolist()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list, one value a row, got {value!r}.")
    return list(value)


def checked_columns(columns: Mapping[str, Input], given: Mapping[str, Any]) -> dict[str, list]:
    """Plain values of all columns, of one length.

    Raises:
        TypeError: Values of another kind.
        ValueError: Columns that are missing or of unequal length, NaN, or values out of their bounds.
    """
    missing = [name for name in columns if given.get(name) is None]
    if missing:
        there = ", ".join(name for name in columns if name not in missing) or "nothing"
        raise ValueError(f"{' and '.join(missing)} must be given, one value a row; there is {there}.")
    lists = {name: plain_list(name, given[name]) for name in columns}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"all columns need one value a row, so equally many: {said}.")
    return {
        name: [KINDS[kind.column].check(f"{name}[{at}]", value, kind) for at, value in enumerate(lists[name])]
        for name, kind in columns.items()
    }


def checked_clusters(clusters: Any, rows: int) -> list | None:
    """Names of clusters, one a row.

    Raises:
        TypeError: Neither texts nor whole numbers, or both.
        ValueError: Not one a row.
    """
    if clusters is None:
        return None
    found = plain_list("clusters", clusters)
    if len(found) != rows:
        raise ValueError(f"clusters must name one for each of the {rows} rows, got {len(found)}.")
    kinds = {str if isinstance(each, str) else int if isinstance(each, numbers.Integral) else None for each in found}
    if None in kinds or len(kinds) > 1:
        raise TypeError(
            "clusters are all texts or all whole numbers: rows with one name are about one person or document."
        )
    return found
