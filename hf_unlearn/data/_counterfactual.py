"""Counterfactual questions: a forget question with a name in the subject's place that stands nowhere in the data.

If the subject is one of many of its kind, what the original says to these questions is what a model that never saw the subject would
say to the true one. Knows rows and names; no tokenizer and no model. What cannot be asked that way is left out, with the reason.
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from datasets import Dataset, DatasetDict, List, Value

from hf_unlearn.data._asked import all_texts, answer_texts, asked_questions, texts_asked
from hf_unlearn.data._columns import about
from hf_unlearn.data._exchangeable import kinds_not_retained, kinds_of, leave_out, near_duplicates, unreadable
from hf_unlearn.data._given_questions import COUNTERFACTUAL, given_questions
from hf_unlearn.data._loading import DataLike, load_data
from hf_unlearn.data._names import name_parts, renamed
from hf_unlearn.data._seen_names import SeenNames, mentions_loosely
from hf_unlearn.data._subject_names import row_columns, subject_names, unused_column
from hf_unlearn.data._substitutes import Substitutes


logger = logging.getLogger(__name__)

PEOPLE_TAKEN = "Subjects without a kind are taken to be people: their names gave way to people's names."
SEEN_SUBSTITUTES = (
    "{count} of {total} given substitutes stand in the data, where their bearers may be known, and were not used."
)


@dataclass(frozen=True)
class CounterfactualQuestions:
    """The forget rows, each with its question about subjects that nobody has seen.

    Attributes:
        dataset: The rows, with the column `counterfactual_question`: a list of texts, `[]` where the row is left out.
        left_out: Number of a row -> why it has none; quotes nothing of the row.
        subjects: Per row the subject's name; None where it is left out, or texts were given that differ in more than a name. Private: no card
            may hold it.
        names: Per row the substitute behind each text; empty where there is no subject.
        notes: What a reader has to know, in counts.
    """

    dataset: Dataset
    left_out: Mapping[int, str]
    subjects: tuple[str | None, ...]
    names: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def counterfactual_questions(
    forget: DataLike,
    *,
    retain: DataLike | Sequence[DataLike] | None = None,
    others: Sequence[DataLike] = (),
    num: int = 16,
    seed: int = 0,
    subject_column: str | None = None,
    substitutes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
) -> CounterfactualQuestions:
    """Put other names in place of the subject's in every forget question.

    A column `counterfactual_question` is checked and used as it is. Else the subject's name is found (`subject_column`, a column
    `subject`, or what the questions of a cluster, or three of all, share), and each row draws its own substitutes: from `substitutes`; where first and last
    names recur among the data's subjects, as new pairs of those; else from lists of people's names of many cultures. A column `kind` says of
    what a subject is one ("person", "ship"); without it, names of two words and more are taken to be people's. A substitute stands
    nowhere in any of the sets, whatever its case, accents and hyphens; of names from the lists no part does. Nothing is known about gender.

    Args:
        forget: Rows with question/answer, prompt/completion or messages (the user's last one is the question).
        retain: What a retrained model would have seen, one set or several. Rows whose subject it names, or whose kind (where it has that column) it lacks, are
            left out.
        others: Further sets in which no substitute may stand, such as a holdout.
        num: Texts per row, at least 2; fewer where there are no more names, which is noted.
        seed: The same gives the same names on every machine.
        subject_column: Which column holds the subjects' names.
        substitutes: Names to draw from; by kind where the rows left to ask have several.

    Returns:
        The rows and what became of each.

    Raises:
        ValueError: Running text, token ids or questions with choices; a column that is not there; substitutes that are no names, all
            stand in the data or do not say of which kind they are; given texts that are no questions of their own (the row is named).

    Example:
        >>> rows = [{"question": f"{asked} Ana Ruiz {verb}?", "answer": "No."} for asked, verb in
        ...         (("Does", "sing"), ("Where did", "live"), ("Who saw", "there"))]
        >>> found = counterfactual_questions(Dataset.from_list(rows), num=2)
        >>> found.subjects[0], len(found.names[0]), dict(found.left_out)
        ('Ana Ruiz', 2, {})
        >>> found.dataset[0]["counterfactual_question"][0] == f"Does {found.names[0][0]} sing?"
        True
    """
    if num < 2:
        raise ValueError(f"at least 2 counterfactual questions a row are needed, got num={num}.")
    with about("forget"):
        rows = load_data(forget)
        questions, contexts = asked_questions(rows)
    kept = _loaded(
        [retain] if isinstance(retain, (Dataset, DatasetDict, str, os.PathLike)) else retain or (), "retain"
    )
    further = _loaded(others, "others")
    kinds = kinds_of(rows)
    left_out = kinds_not_retained(kinds, kept)
    if COUNTERFACTUAL in rows.column_names:
        given = given_questions(rows, questions, left_out, num, [*kept, *further])
        result = _result(rows, given.texts, left_out, given.subjects, given.names, num)
        return replace(result, notes=(*result.notes, *given.notes))
    own = set(questions)
    more = list(dict.fromkeys(text for part in (*kept, *further) for text in texts_asked(part) if text not in own))
    found = subject_names(questions, row_columns(rows, subject_column), subject_column=subject_column, more=more)
    leave_out(found, questions, contexts, kept, left_out)
    seen = SeenNames(text for part in (rows, *kept, *further) for text in all_texts(part))
    asked_kinds = {kind for at, kind in enumerate(kinds) if at not in left_out}
    everyone = _everyone(found, kinds, [*kept, *further], subject_column)
    usable, refused = _checked(substitutes, seen, asked_kinds)
    pool = Substitutes(seen, everyone, usable)
    texts, names = [], []
    for at, (question, answer) in enumerate(zip(questions, answer_texts(rows), strict=True)):
        drawn: tuple[str, ...] = ()
        name = found[at][0] or ""
        if at not in left_out:
            asks = partial(_asked_about, question, answer, name)
            drawn, why = pool.draw(name, kinds[at], num, f"counterfactual-{seed}-{name}-{at}", asks)
            left_out |= {at: why} if why else {}
        texts.append([renamed(question, name, other) for other in drawn])
        names.append(drawn)
    subjects = [None if at in left_out else name for at, (name, _) in enumerate(found)]
    result = _result(rows, texts, left_out, subjects, names, num)
    people = [PEOPLE_TAKEN] if substitutes is None and None in asked_kinds and any(names) else []
    unused = unused_column(questions, row_columns(rows, None)) if subject_column is None else []
    notes = (*unused, *refused, *people, *near_duplicates(rows, kept, left_out), *unreadable([*kept, *further]))
    return replace(result, notes=(*result.notes, *notes))


def _loaded(data: Sequence[DataLike], name: str) -> list[Dataset]:
    found = []
    for at, part in enumerate(data):
        with about(name if len(data) == 1 else f"{name}[{at}]"):
            found.append(load_data(part))
    return found


def _everyone(
    found: Sequence[tuple[str | None, str]],
    kinds: Sequence[str | None],
    others: Sequence[Dataset],
    subject_column: str | None,
) -> dict[str | None, list[str]]:
    """Names of all subjects of the data, by kind."""
    everyone: dict[str | None, set[str]] = {}
    for (name, _), kind in zip(found, kinds, strict=True):
        if name:
            everyone.setdefault(kind, set()).add(name)
    for other in (part for part in others if texts_asked(part)):
        column = subject_column if subject_column in other.column_names else None
        named = subject_names(texts_asked(other), row_columns(other, column), subject_column=column)
        for (name, _), kind in zip(named, kinds_of(other), strict=False):
            if name:
                everyone.setdefault(kind, set()).add(name)
    return {kind: sorted(names) for kind, names in everyone.items()}


def _asked_about(question: str, answer: str, subject: str, name: str) -> str | None:
    """The question about another; None where something is left by which the subject could be meant, in the question or in the answer."""
    text = renamed(question, subject, name)
    is_left = any(mentions_loosely(found, subject, parts=True) for found in (text, renamed(answer, subject, name)))
    return None if text == question or is_left else text


def _checked(
    given: Sequence[str] | Mapping[str, Sequence[str]] | None, seen: SeenNames, kinds: set[str | None]
) -> tuple[dict[str | None, list[str]] | None, list[str]]:
    """By kind, without those that stand in the data, and a note of how many those are.

    Raises:
        ValueError: No names, of several kinds without saying which, or all of them stand in the data.
    """
    if given is None:
        return None, []
    if isinstance(given, str):
        raise ValueError("substitutes must be a list of names, got one text.")
    if not isinstance(given, Mapping) and len(kinds) > 1:
        raise ValueError(
            f"the rows are of {len(kinds)} kinds, and the substitutes do not say of which they are: pass a mapping of kind to names."
        )
    lists = dict(given) if isinstance(given, Mapping) else dict.fromkeys(kinds, given)
    found = {}
    for kind, names in lists.items():
        if not all(isinstance(name, str) and name_parts(name) for name in names):
            raise ValueError("substitutes must be names, and at least one is empty or no text.")
        found[kind] = [" ".join(name.split()) for name in names if name not in seen]
    if lists and not any(found.values()):
        raise ValueError(
            "every given substitute stands in the data, where its bearer may be known. Give names that stand nowhere."
        )
    everything = {name for names in lists.values() for name in names}
    seen_too = sum(name in seen for name in everything)
    return found, [SEEN_SUBSTITUTES.format(count=seen_too, total=len(everything))] if seen_too else []


def _result(
    rows: Dataset,
    texts: list[list[str]],
    left_out: Mapping[int, str],
    subjects: Sequence[str | None],
    names: Sequence[tuple[str, ...]],
    num: int,
) -> CounterfactualQuestions:
    notes = [
        f"{count} of {len(rows)} rows have no counterfactual question: {why}."
        for why, count in Counter(left_out.values()).items()
    ]
    fewer = sum(0 < len(found) < num for found in texts)
    if fewer:
        notes.append(f"{fewer} of {len(rows)} rows have fewer than {num} counterfactual questions.")
    for why in dict.fromkeys(left_out.values()):
        logger.info(
            "no counterfactual question for rows %s: %s", [at for at in sorted(left_out) if left_out[at] == why], why
        )
    base = rows.remove_columns(COUNTERFACTUAL) if COUNTERFACTUAL in rows.column_names else rows
    dataset = base.add_column(COUNTERFACTUAL, texts, feature=List(Value("string")))
    return CounterfactualQuestions(
        dataset, dict(sorted(left_out.items())), tuple(subjects), tuple(names), tuple(notes)
    )
