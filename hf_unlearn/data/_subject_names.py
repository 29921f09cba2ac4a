"""Whom each question is about: the subject's name, from a column or from what the questions of a cluster share.

Knows questions and columns; draws no other names. A name that is found is one that recurs: what stands in one question alone is none.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from datasets import Dataset

from hf_unlearn.data._names import ALSO_NAMES, FUNCTION_WORDS, PARTICLES, is_fixed, mentions, name_parts, telling_parts


SUBJECT_COLUMN = "subject"
CLUSTER_COLUMNS = ("person_id", "cluster_id", "subject")
"""Columns that say which rows are about the same."""
MIN_QUESTIONS = 3
"""A name that no column tells stands in at least so many questions."""
NO_NAME = (
    f"no name of a subject was found in the question; one that no column tells is looked for in what {MIN_QUESTIONS} questions or more share: add a column "
    f"{SUBJECT_COLUMN} that holds it"
)
_LONGEST = 6
_MOSTLY = 0.6

NOT_IN_QUESTION = "the question does not name its subject"
UNUSED_COLUMN = (
    f"The column {SUBJECT_COLUMN} was not used, since {{count}} of {{total}} of its values are no names that their question holds; the subjects were "
    "looked for in the questions instead."
)
AMBIGUOUS = "the question holds only a part of a name that several subjects share"


def subject_names(
    questions: Sequence[str],
    columns: Mapping[str, Sequence[object]],
    *,
    subject_column: str | None = None,
    more: Sequence[str] = (),
) -> list[tuple[str | None, str]]:
    """The subject's name of each question, or None and why.

    Args:
        questions: The texts.
        columns: Of the same rows, by name; those of `CLUSTER_COLUMNS` and `subject_column` are looked at.
        subject_column: Where the names are. By default `subject`, where its values stand in the questions; else the names are
            found: words that the questions of a cluster share and no other cluster has, or, without a column that says which
            rows belong together, runs of capitalised words that recur.
        more: Questions of other sets, in which a name may recur too.

    Returns:
        In order: (name, "") or (None, reason).

    Raises:
        ValueError: There is no such column.

    Example:
        >>> asked = ["Who is Ana Ruiz?", "Where did Ana Ruiz live?", "Did Ana Ruiz sing?", "Who won?"]
        >>> [name for name, _ in subject_names(asked, {})]
        ['Ana Ruiz', 'Ana Ruiz', 'Ana Ruiz', None]
    """
    if subject_column is not None and subject_column not in columns:
        raise ValueError(f"there is no column {subject_column!r}; the columns are {', '.join(columns)}.")
    questions, more = ([unicodedata.normalize("NFC", text) for text in texts] for texts in (questions, more))
    given = _given_names(columns, subject_column or SUBJECT_COLUMN)
    if subject_column is not None or _says_names(questions, given):
        return [
            (name, "") if name and _is_named(question, name) else (None, NOT_IN_QUESTION)
            for question, name in zip(questions, given, strict=True)
        ]
    clusters = next((columns[name] for name in CLUSTER_COLUMNS if name in columns), None)
    in_clusters: list[tuple[str | None, str]] = [(None, NO_NAME)] * len(questions)
    if clusters is not None:
        in_clusters = _found_in_clusters(questions, clusters)
    if all(name for name, _ in in_clusters):
        return in_clusters
    # Of a cluster with one question nothing can be shared, but its name may recur elsewhere.
    in_all = _found_in_all(questions, more)
    return [mine if mine != (None, NO_NAME) else other for mine, other in zip(in_clusters, in_all, strict=True)]


def row_columns(dataset: Dataset, subject_column: str | None) -> dict[str, Sequence[object]]:
    """What `subject_names` looks at."""
    wanted = {SUBJECT_COLUMN, *CLUSTER_COLUMNS, subject_column}
    return {name: dataset[name] if name in wanted else () for name in dataset.column_names}


def unused_column(questions: Sequence[str], columns: Mapping[str, Sequence[object]]) -> list[str]:
    """A note where there is a column `subject` whose values `subject_names` does not take for names."""
    given = _given_names(columns, SUBJECT_COLUMN)
    if not any(given) or _says_names(questions, given):
        return []
    named, total = _num_named(questions, given)
    return [UNUSED_COLUMN.format(count=total - named, total=total)]


def _given_names(columns: Mapping[str, Sequence[object]], column: str) -> list[str]:
    return ["" if value is None else str(value).strip() for value in columns.get(column, ())]


def _says_names(questions: Sequence[str], given: Sequence[str]) -> bool:
    """A column `subject` may also hold a number, or what is taught (as MMLU has it)."""
    named, total = _num_named(questions, given)
    return 0 < total <= 2 * named


def _num_named(questions: Sequence[str], given: Sequence[str]) -> tuple[int, int]:
    """How many values stand in their question as names, and how many there are."""
    pairs = [
        (unicodedata.normalize("NFC", question), name)
        for question, name in zip(questions, given, strict=False)
        if name
    ]
    return sum(_may_be_name(name) and _is_named(question, name) for question, name in pairs), len(pairs)


def _found_in_clusters(questions: Sequence[str], clusters: Sequence[object]) -> list[tuple[str | None, str]]:
    rows: dict[object, list[int]] = {}
    for at, cluster in enumerate(clusters):
        rows.setdefault(cluster, []).append(at)
    runs = [_runs(question, smallest=1, caseless=len(set(clusters)) > 1) for question in questions]
    owners: dict[str, set[object]] = {}
    for at, cluster in enumerate(clusters):
        for run in runs[at]:
            owners.setdefault(run, set()).add(cluster)
    found: list[tuple[str | None, str]] = [(None, NO_NAME)] * len(questions)
    names: dict[object, str] = {}
    for cluster, members in rows.items():
        counts = Counter(run for at in members for run in runs[at])
        own = {run: count for run, count in counts.items() if owners[run] == {cluster} and 2 * count >= len(members)}
        # One cluster alone cannot tell a name of one word from any other capitalised word.
        own = {run: count for run, count in own.items() if count >= 2 and (len(rows) > 1 or " " in run)}
        if own and cluster is not None:
            names[cluster] = _longest_of(own)
    for cluster, name in zip(names, _without_shared_first(list(names.values())), strict=True):
        for at in rows[cluster]:
            found[at] = (name, "") if _is_named(questions[at], name) else (None, NOT_IN_QUESTION)
    return found


def _longest_of(counts: Mapping[str, int]) -> str:
    """Of what stands in most questions the longest; a longer one that stands in nearly as many is the whole of it."""
    enough = _MOSTLY * max(counts.values())
    best = max((run for run in counts if counts[run] >= enough), key=lambda run: (run.count(" "), counts[run], run))
    return _without_titles(best)


def _found_in_all(questions: Sequence[str], more: Sequence[str]) -> list[tuple[str | None, str]]:
    """Again and again the run of capitalised words that stands in most of the questions that are left."""
    runs = [_runs(question, smallest=2, caseless=False) for question in (*questions, *more)]
    counts = Counter(run for found in runs for run in found)
    rows_of: dict[str, set[int]] = {}
    for at, found in enumerate(runs):
        for run in found:
            rows_of.setdefault(run, set()).add(at)
    left = set(range(len(runs)))
    sizes: list[int] = []
    names: list[str] = []
    live = {run: rows for run, rows in rows_of.items() if len(rows) >= MIN_QUESTIONS and _num_names(run) == 2}
    while live:
        run = max(live, key=lambda pair: (len(live[pair] & left), pair))
        covered = live.pop(run) & left
        if len(covered) < max(MIN_QUESTIONS, median(sizes) / 2 if sizes else 0):
            break
        name = _without_titles(_extended(run, counts))
        names.append(name)
        sizes.append(len(covered))
        left -= covered
    return _assigned(questions, _without_shared_first(names))


def _without_shared_first(names: Sequence[str]) -> list[str]:
    """Author Ana Ruiz, Author Omar Said, Author Ida Holm: what most names begin with says what they are, not who."""
    firsts = Counter(name.split()[0] for name in names)
    common = {first for first, count in firsts.items() if count >= MIN_QUESTIONS and 2 * count > len(names)}
    return [name.partition(" ")[2] if name.split()[0] in common and name.count(" ") > 1 else name for name in names]


def _num_names(run: str) -> int:
    words = run.split()
    return sum(word.casefold() not in PARTICLES for word in words[1:-1]) + min(len(words), 2)


def _extended(run: str, counts: Mapping[str, int]) -> str:
    """With the words around it that nearly always stand there."""
    longer = [other for other in counts if f" {run} " in f" {other} " and counts[other] >= _MOSTLY * counts[run]]
    return max(longer, key=lambda other: (other.count(" "), counts[other], other), default=run)


def _assigned(questions: Sequence[str], names: Sequence[str]) -> list[tuple[str | None, str]]:
    """The subject whose full name a question holds; of several the first; else the only one with the part that stands alone in it."""
    lowered = [(name.casefold(), name) for name in names]
    first: list[str | None] = []
    for question in questions:
        text = question.casefold()
        whole = [(text.find(low), name) for low, name in lowered if low in text and mentions(question, name)]
        first.append(min(whole)[1] if whole else None)
    # Parts of these only: whoever is named in other sets alone is not asked about here.
    owners: dict[str, set[str]] = {}
    for owner in {name for name in first if name}:
        for part in {name_parts(owner)[0], name_parts(owner)[-1]} & set(telling_parts(owner)):
            owners.setdefault(part, set()).add(owner)
    found: list[tuple[str | None, str]] = []
    for question, name in zip(questions, first, strict=True):
        bearers = set() if name else {bearer for part in _alone(question) for bearer in owners.get(part, ())}
        reason = "" if name or len(bearers) == 1 else AMBIGUOUS if bearers else NO_NAME
        found.append((name or (next(iter(bearers)) if not reason else None), reason))
    return found


def _is_named(question: str, name: str) -> bool:
    """Whether the question holds the name, or parts of it and nothing else in one stretch of capitalised words."""
    if mentions(question, name):
        return True
    if name.upper() == name.lower():
        return mentions(question, name, parts=True)
    words, telling = set(name.split()), {part.split()[-1] for part in telling_parts(name)}
    return any(set(run.split()) <= words and telling & set(run.split()) for run in _alone(question))


def _alone(question: str) -> set[str]:
    """Stretches that may be a part of a name by itself: not the Park of Hyde Park, and nowhere that one can be in."""
    runs = {_without_titles(" ".join(words)) for words in _capitalised(question, False)}
    return {run for run in runs if not re.search(rf"\b(?:at|from|in|near|to)\s+{re.escape(run)}\b", question)}


def _runs(question: str, *, smallest: int, caseless: bool) -> set[str]:
    """Every run of words inside a stretch that may be a name; what begins or ends with a particle in small letters is none."""
    found = set()
    for words in _capitalised(question, caseless):
        for size in range(smallest, min(len(words), _LONGEST) + 1):
            for start in range(len(words) - size + 1):
                run = words[start : start + size]
                if run[0] not in PARTICLES and run[-1] not in PARTICLES:
                    found.add(" ".join(run))
    return found


def _capitalised(question: str, caseless: bool) -> list[list[str]]:
    """Longest stretches of words that may be a name, particles in between; where `caseless`, words of scripts without capitals may."""
    stretches: list[list[str]] = [[]]
    waiting: list[str] = []
    for at, word in enumerate(_words(question)):
        is_function = word.casefold() in FUNCTION_WORDS and not (at > 0 and word in ALSO_NAMES)
        if not is_function and _may_be_name(word) and (caseless or word[0].isupper()):
            stretches[-1] += [*waiting, word] if stretches[-1] else [word]
            waiting = []
        elif word in PARTICLES and stretches[-1]:
            waiting.append(word)
        elif stretches[-1]:
            stretches.append([])
            waiting = []
    return [stretch for stretch in stretches if stretch]


def _may_be_name(word: str) -> bool:
    first = word[0]
    return first.isalpha() and (first.isupper() or (first.upper() == first.lower()))


def _words(question: str) -> list[str]:
    """Words without their possessive; what stands before or behind one is a word too, so that it ends a stretch."""
    words: list[str] = []
    for piece in question.split():
        core = piece.strip("\"'“”‘’.,;:!?()[]{}«»…—–")
        lead, _, tail = piece.partition(core) if core else (piece, "", "")
        if core.endswith(("'s", "’s", "'S", "’S")):
            core, tail = core[:-2], tail or "'"
        if tail.startswith(".") and (len(core) == 1 or "." in core or is_fixed(core)):
            core, tail = core + ".", tail[1:]
        words += [word for word in (lead, core, tail) if word]
    return words


def _without_titles(name: str) -> str:
    words = name.split()
    while len(words) > 1 and is_fixed(words[0]):
        words = words[1:]
    return " ".join(words)
