"""What a caller may pass: each check gives the plain value back, or says what was expected, what came, and under which name.

Nothing is coerced: `seed=1.5` is a mistake, not 1; `allow_overlap="no"` is a mistake, not True. NumPy's scalars are numbers like Python's.
"""

import difflib
import math
import numbers
import os
from collections.abc import Collection, Iterable
from pathlib import Path


def whole_number(name: str, value: object, *, minimum: int | None = None) -> int:
    """An integer, also NumPy's; no float, no bool, no text.

    Raises:
        TypeError: Something else.
        ValueError: Below the minimum.

    Example:
        >>> import numpy as np
        >>> whole_number("num_samples", np.int64(8), minimum=1)
        8
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {_shown(value)}.")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    return int(value)


def real_number(name: str, value: object, *, minimum: float | None = None) -> float:
    """A finite number.

    Raises:
        TypeError: Something else.
        ValueError: Not finite, or below the minimum.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {_shown(value)}.")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}.")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    return float(value)


def open_share(name: str, value: object) -> float:
    """A number between 0 and 1, neither of them.

    Raises:
        TypeError: Not a number.
        ValueError: Out of range.

    Example:
        >>> open_share("confidence", 95)
        Traceback (most recent call last):
        ValueError: confidence must lie between 0 and 1, got 95.0.
    """
    share = real_number(name, value)
    if not 0 < share < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {share}.")
    return share


def above_zero(name: str, value: object) -> float:
    """A finite number above 0.

    Raises:
        TypeError: Not a number.
        ValueError: 0 or below, or not finite.
    """
    number = real_number(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be above 0, got {value}.")
    return number


def share(name: str, value: object) -> float:
    """A number above 0 and at most 1.

    Raises:
        TypeError: Not a number.
        ValueError: Out of range.
    """
    number = real_number(name, value)
    if not 0 < number <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {value}.")
    return number


def switch(name: str, value: object) -> bool:
    """True or False; "no" would be true.

    Raises:
        TypeError: Something else.
    """
    kind = type(value)
    # NumPy's is told by its name: the command line reads its options through here and must not wait for NumPy.
    if kind is not bool and (kind.__module__, kind.__name__) not in {("numpy", "bool"), ("numpy", "bool_")}:
        raise TypeError(f"{name} must be True or False, got {_shown(value)}.")
    return bool(value)


def one_of(name: str, value: object, choices: Collection[str]) -> str:
    """One of the known words.

    Raises:
        ValueError: Another one.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}.")
    return value


def known_name(kind: str, value: str, known: Collection[str]) -> str:
    """A name that is in a registry.

    Raises:
        ValueError: It is not; says which there are, and which was perhaps meant.

    Example:
        >>> known_name("metric", "fad", ["fade", "cka"])
        Traceback (most recent call last):
        ValueError: there is no metric 'fad'; there are fade, cka. Did you mean 'fade'?
    """
    if value in known:
        return value
    plain = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(value), plain, n=1, cutoff=0.5)
    hint = f" Did you mean {plain[close[0]]!r}?" if close else ""
    raise ValueError(f"there is no {kind} {value!r}; there are {', '.join(known) or 'none'}.{hint}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def whole_numbers(name: str, values: object, *, minimum: int | None = None) -> tuple[int, ...]:
    """At least one whole number, for example layers.

    Raises:
        TypeError: Not a sequence of whole numbers.
        ValueError: None, or one below the minimum.

    Example:
        >>> whole_numbers("layers", range(1, 3))
        (1, 2)
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of whole numbers, got {_shown(values)}.")
    found = tuple(whole_number(f"each of {name}", value, minimum=minimum) for value in values)
    if not found:
        raise ValueError(f"{name} must name at least one, got an empty list.")
    return found


def text(name: str, value: object) -> str:
    """A text that is not empty.

    Raises:
        TypeError: Something else.
        ValueError: Empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {_shown(value)}.")
    if not value:
        raise ValueError(f"{name} must not be empty; leave it out for the default.")
    return value


def texts(name: str, values: object) -> tuple[str, ...]:
    """At least one text, none of them twice, for example names of metrics.

    Raises:
        TypeError: Not a sequence of texts.
        ValueError: None, an empty one, or one twice.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of texts, got {_shown(values)}.")
    found = tuple(text(f"each of {name}", value) for value in values)
    if not found:
        raise ValueError(f"{name} must name at least one, got an empty list.")
    twice = [value for value in found if found.count(value) > 1]
    if twice:
        raise ValueError(f"{name} names {twice[0]!r} twice.")
    return found


def folder_path(name: str, value: object) -> Path:
    """The path of a folder; an empty text would be the working directory.

    Raises:
        TypeError: Neither text nor path.
        ValueError: Empty.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be the path of a folder, got {_shown(value)}.")
    if not os.fspath(value):
        raise ValueError(f"{name} must be the path of a folder, got an empty text; '.' is the working directory.")
    return Path(value)


def given(name: str, value: object, what: str) -> None:
    """Refuse None where something has to be named.

    Raises:
        TypeError: It is None.
    """
    if value is None:
        raise TypeError(f"{name} must be given: {what}; got None.")


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
