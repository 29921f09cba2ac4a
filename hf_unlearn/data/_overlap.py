"""Whether two sets share rows. Knows the columns that carry meaning; does not know paraphrases: those are near-duplicates, and
a benchmark may hold them on purpose.
"""

import json
import logging
from typing import Any

from datasets import Dataset

from hf_unlearn.data._columns import COLUMN_SETS, column_format


logger = logging.getLogger(__name__)

_SHOWN = 10


def check_disjoint(
    forget: Dataset, retain: Dataset, *, allow_overlap: bool = False, name: str = "the other set"
) -> None:
    """Refuse forget rows that are also in the retain set: training would pull them both ways, and no audit could be read.

    Rows are compared on the columns that carry meaning (question and answer, prompt and completion, ...), regardless of case
    and white space. Where the two sets come in different formats nothing can be compared, and nothing is refused; a
    warning says so.

    Args:
        forget: The set that must go.
        retain: The set that must stay, or a holdout.
        allow_overlap: Accept shared rows.
        name: What to call the second set in the message.

    Raises:
        ValueError: Shared rows; says how many and which, by index, never by their text.

    Example:
        >>> forget = Dataset.from_dict({"text": ["a", "b"]})
        >>> check_disjoint(forget, Dataset.from_dict({"text": ["c", " B "]}))
        Traceback (most recent call last):
        ...
        ValueError: 1 of 2 forget rows are also in the other set (forget row: rows there): 1: [1]. Remove them from one of
        the two, or pass allow_overlap=True.
    """
    kinds = column_format(forget.column_names), column_format(retain.column_names)
    if allow_overlap:
        return
    if kinds[0] != kinds[1]:
        logger.warning("Forget rows (%s) and the other set (%s) cannot be compared: shared rows go unseen.", *kinds)
        return
    places: dict[str, list[int]] = {}
    for index, row in enumerate(retain.select_columns(list(COLUMN_SETS[kinds[0]]))):
        places.setdefault(_meaning(row), []).append(index)
    rows = enumerate(forget.select_columns(list(COLUMN_SETS[kinds[0]])))
    shared = [(index, places[meaning]) for index, row in rows if (meaning := _meaning(row)) in places]
    if shared:
        listed = "; ".join(f"{index}: {there}" for index, there in shared[:_SHOWN])
        more = f"; and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
        raise ValueError(
            f"{len(shared)} of {len(forget)} forget rows are also in {name} (forget row: rows there): {listed}"
            f"{more}. Remove them from one of the two, or pass allow_overlap=True."
        )


def _meaning(row: dict[str, Any]) -> str:
    return json.dumps(_normalised(row), sort_keys=True)


def _normalised(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split()).casefold()
    if isinstance(value, dict):
        return {key: _normalised(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normalised(item) for item in value]
    return value
