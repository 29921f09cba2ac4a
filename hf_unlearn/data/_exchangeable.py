"""Which forget rows can be asked about somebody else as well, and why others cannot: what the assumption that subjects are exchangeable needs.

Knows rows, names and kinds; draws no names. Reasons quote nothing of a row but its kind.
"""

from collections.abc import Mapping, Sequence

from datasets import Dataset

from hf_unlearn.data._asked import all_texts
from hf_unlearn.data._columns import column_format
from hf_unlearn.data._names import mentions
from hf_unlearn.data._seen_names import SeenNames, mentions_loosely


KIND_COLUMN = "kind"
SUBJECT_RETAINED = "the subject's name stands in retained rows, so that a retrained model would know it too"
KIND_NOT_RETAINED = "their kind is in no retained row: the assumption that subjects are exchangeable fails"
EARLIER = "the subject's name stands in earlier messages of the conversation too"
SEVERAL = "the question also names another subject of the forget set"
NEAR_DUPLICATES = (
    "{count} of {total} rows share their cluster with retained rows, of which a retrained model would know something about them; "
    "counterfactual questions do not."
)
UNREADABLE = "{count} of {total} other sets are token ids: whether names stand in them is not known."


def kinds_of(rows: Dataset) -> list[str | None]:
    """Of what each row's subject is one; None where the rows do not say."""
    if KIND_COLUMN not in rows.column_names:
        return [None] * len(rows)
    return [None if value is None else str(value) for value in rows[KIND_COLUMN]]


def kinds_not_retained(kinds: Sequence[str | None], retain: Sequence[Dataset]) -> dict[int, str]:
    """Rows of a kind that no retained row has, where every retained set tells kinds; and the reason."""
    told = [part for part in retain if KIND_COLUMN in part.column_names]
    there = {kind for part in told for kind in kinds_of(part)}
    if len(told) < len(retain) or not told:
        return {}
    return {at: KIND_NOT_RETAINED for at, kind in enumerate(kinds) if kind is not None and kind not in there}


def leave_out(
    found: Sequence[tuple[str | None, str]],
    questions: Sequence[str],
    contexts: Sequence[str],
    retain: Sequence[Dataset],
    left_out: dict[int, str],
) -> None:
    """Add the rows whose subject is not found, stands elsewhere in the conversation, is known to retained rows or cannot be told apart."""
    names = {name for name, _ in found if name}
    retained = SeenNames(text for part in retain for text in all_texts(part, trained_on=True))
    known = {name for name in names if name in retained and _names(retain, name)}
    for at, (name, reason) in enumerate(found):
        if at in left_out:
            continue
        if name is None:
            left_out[at] = reason
        elif mentions_loosely(contexts[at], name, parts=True):
            left_out[at] = EARLIER
        elif name in known:
            left_out[at] = SUBJECT_RETAINED
        elif _names_another(name, questions[at], names):
            left_out[at] = SEVERAL


def _names_another(name: str, question: str, names: set[str]) -> bool:
    """Whoever else is to be forgotten stays known to the original, whatever stands in place of the subject."""
    others = (other for other in names if other != name and other not in name)
    return any(mentions(question, other) for other in others)


def unreadable(sets: Sequence[Dataset]) -> list[str]:
    """Sets in which names cannot be looked for."""
    count = sum(column_format(part.column_names) == "tokenized" for part in sets)
    return [UNREADABLE.format(count=count, total=len(sets))] if count else []


def near_duplicates(rows: Dataset, retain: Sequence[Dataset], left_out: Mapping[int, str]) -> list[str]:
    """Retained rows of a forget row's cluster may tell what had to go."""
    shared: set[int] = set()
    for column in ("person_id", "cluster_id"):
        if column in rows.column_names:
            there = {value for part in retain if column in part.column_names for value in part[column]} - {None}
            shared |= {at for at, value in enumerate(rows[column]) if value in there and at not in left_out}
    return [NEAR_DUPLICATES.format(count=len(shared), total=len(rows))] if shared else []


def _names(sets: Sequence[Dataset], name: str) -> bool:
    """Whether the name stands there as a name: Gallant, not gallant."""
    return any(mentions_loosely(text, name) for part in sets for text in all_texts(part, trained_on=True))
