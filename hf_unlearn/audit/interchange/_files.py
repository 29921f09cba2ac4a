"""Evaluation files of others, read strictly: open-unlearning's `*_EVAL.json` and `*_SUMMARY.json`, and TOFU's own logs. Knows no formula.

They are somebody else's: size, depth, names and numbers are checked, and what is no number is counted, not computed with.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from hf_unlearn.audit.interchange._names import OTHER_NAMES


MOST_BYTES = 512 * 2**20
"""Logs of ten thousand examples with their texts are a few dozen MB."""
MOST_NAMES, LONGEST = 1000, 100
EVAL, SUMMARY, TOFU = "open-unlearning's evaluation", "open-unlearning's summary", "TOFU's log"
SIDES = ("forget", "holdout")
"""Of a membership attack."""
_TOFU_PARTS = {
    "eval_log_forget.json": "forget",
    "eval_log.json": "retain",
    "eval_real_author_wo_options.json": "ra",
    "eval_real_world_wo_options.json": "wf",
}
_TOFU_COLUMNS = {
    "Q_A_Prob": {"avg_loss": "avg_gt_loss"},
    "Q_A_PARA_Prob": {"avg_loss": "avg_paraphrased_loss"},
    "Q_A_PERT_Prob": {"avg_loss": "average_perturb_loss"},
    "Q_A_ROUGE": {"rougeL_recall": "rougeL_recall", "rouge1_recall": "rouge1_recall"},
    "Truth_Ratio": {"score": "truth_ratio"},
}
Number = float | list[float]
Values = dict[str, dict[str, Number]]
"""By index of the example, then by name of the value."""


@dataclass(frozen=True)
class EvalEntry:
    """One metric in a file.

    Attributes:
        value: The aggregate that the file gives, or None.
        values: Per example.
        sides: Of an attack the same of each of `SIDES`.
        broken: Values per example that are no finite number (NaN, Infinity, null); they are left out of `values`.
    """

    value: float | None
    values: Values = field(default_factory=dict)
    sides: dict[str, Values] = field(default_factory=dict)
    broken: int = 0


@dataclass(frozen=True)
class EvalFile:
    """What a file says.

    Attributes:
        kind: `EVAL`, `SUMMARY` or `TOFU`.
        entries: By name as in `EVAL_METRICS`, and others as they are called.
    """

    kind: str
    entries: dict[str, EvalEntry]


def read_eval(path: str | os.PathLike) -> EvalFile:
    """Read one file.

    Raises:
        ValueError: Too large, no JSON, or none of the three kinds; says what is wrong and where.
        OSError: It cannot be read.
    """
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    size = place.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{place.name} has {size} bytes; more than {MOST_BYTES} are not read.")
    try:
        data = json.loads(place.read_text(encoding="utf-8"), object_pairs_hook=_no_twins)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{place.name} is no JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{place.name}: {error}") from error
    try:
        return _file(data)
    except ValueError as error:
        raise ValueError(f"{place.name}: {error}") from error


def _file(data: Any) -> EvalFile:
    if not isinstance(data, Mapping) or not data:
        _refuse("it holds no metrics by name")
    if len(data) > MOST_NAMES or any(len(name) > LONGEST or not name.isprintable() for name in data):
        _refuse(f"more than {MOST_NAMES} names, or one that is no printable line of at most {LONGEST} characters")
    if set(data) & set(_TOFU_PARTS):
        return EvalFile(TOFU, _tofu(data))
    if all(value is None or _is_number(value) for value in data.values()):
        return EvalFile(SUMMARY, {_name(name): EvalEntry(_finite(value)) for name, value in data.items()})
    found: dict[str, EvalEntry] = {}
    for name, value in data.items():
        entry = _entry(name, value)
        if _name(name) not in found or not found[_name(name)].values:
            found[_name(name)] = entry
    return EvalFile(EVAL, found)


def _name(name: str) -> str:
    return OTHER_NAMES.get(name, name)


def _entry(name: str, data: Any) -> EvalEntry:
    if not isinstance(data, Mapping):
        _refuse(f"{name} is neither a number among numbers nor an object with agg_value, but {_shown(data)}")
    value = data.get("agg_value")
    if value is not None and not _is_number(value):
        _refuse(f"agg_value of {name} must be a number or null, got {_shown(value)}")
    values, broken = _values(name, data.get("value_by_index"))
    sides = {}
    for side in SIDES:
        if isinstance(data.get(side), Mapping):
            sides[side], lost = _values(f"{name}.{side}", data[side].get("value_by_index"))
            broken += lost
    return EvalEntry(_finite(value), values, sides if len(sides) == len(SIDES) else {}, broken)


def _values(name: str, data: Any) -> tuple[Values, int]:
    """Numbers per example, texts left out; and how many are no finite number."""
    if data is None:
        return {}, 0
    if not isinstance(data, Mapping):
        _refuse(f"value_by_index of {name} must be an object, got {_shown(data)}")
    found: Values = {}
    broken = 0
    for index, value in data.items():
        parts = value if isinstance(value, Mapping) else {"score": value}
        kept: dict[str, Number] = {}
        for part, number in parts.items():
            if isinstance(number, str):
                continue
            read = _number(f"{name}[{index!r}].{part}", number)
            broken += read is None
            if read is not None:
                kept[str(part)] = read
        found[str(index)] = kept
    return found, broken


def _number(name: str, value: Any) -> Number | None:
    if isinstance(value, list):
        numbers = [_number(name, part) for part in value]
        plain = [number for number in numbers if isinstance(number, float)]
        return plain if plain and len(plain) == len(numbers) else None
    if value is not None and not _is_number(value):
        _refuse(f"{name} must be a number, got {_shown(value)}")
    return _finite(value)


def _tofu(data: Mapping[str, Any]) -> dict[str, EvalEntry]:
    """TOFU's logs in the form of the others."""
    found: dict[str, EvalEntry] = {}
    for part, short in _TOFU_PARTS.items():
        if not isinstance(data.get(part), Mapping):
            continue
        for name, columns in _TOFU_COLUMNS.items():
            values: Values = {}
            broken = 0
            for own, theirs in columns.items():
                read, lost = _values(f"{part}.{theirs}", data[part].get(theirs))
                broken += lost
                for index, kept in read.items():
                    values.setdefault(index, {}).update({own: kept["score"]} if "score" in kept else {})
            for kept in values.values():
                if "avg_loss" in kept:
                    kept["prob"] = _probability(kept["avg_loss"])
            if values:
                found[f"{short}_{name}"] = EvalEntry(None, values, broken=broken)
    return found


def _probability(loss: Number) -> Number:
    if min(loss if isinstance(loss, list) else [loss]) < -1e-6:
        _refuse(f"a mean loss is at least 0, got {loss}")
    return [math.exp(-part) for part in loss] if isinstance(loss, list) else math.exp(-loss)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: Any) -> float | None:
    """Integers too large for a float are none either."""
    try:
        return None if value is None or not math.isfinite(value) else float(value)
    except OverflowError:
        return None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(f"the name {twice[:LONGEST]!r} is there twice in one object")
    return found


def _refuse(why: str) -> NoReturn:
    raise ValueError(f"{why}. Expected open-unlearning's *_EVAL.json or *_SUMMARY.json, or a log of TOFU.")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
