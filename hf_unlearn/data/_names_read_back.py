"""Which name a question asks about, and which one another question has in its place, read from the two texts alone. Knows words."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from hf_unlearn.data._names import renamed


_LONGEST_NAME = 8
"""Words; what differs between two questions and is longer is no name."""


def names_read_back(question: str, others: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The subject of a question, and the name that each other question has in its place.

    Args:
        question: About the subject.
        others: The same question about others.

    Returns:
        None and nothing where they do not all differ in one and the same name.

    Example:
        >>> names_read_back("Where was Ana Ruiz born?", ["Where was Bo Tan born?", "Where was Li Wu born?"])
        ('Ana Ruiz', ('Bo Tan', 'Li Wu'))
        >>> names_read_back("Where was Ana Ruiz born?", ["Where was Bo Tan born?", "Who is Li Wu?"])
        (None, ())
    """
    pairs = [differing(question, other) for other in others]
    subjects = {subject for subject, _ in pairs}
    subject = subjects.pop() if len(subjects) == 1 else ""
    if not subject or not any(letter.isalnum() for letter in question.replace(subject, "")):
        return None, ()  # where all of a question is another, nothing tells what of it is a name
    return subject, tuple(name for _, name in pairs)


def differing(question: str, other: str) -> tuple[str, str]:
    """The name in a question and what stands in its place in another; two empty texts where they differ in more than a name.

    Example:
        >>> differing("Where was Ana Ruiz born?", "Where was Bo Li Tan born?")
        ('Ana Ruiz', 'Bo Li Tan')
        >>> differing("Is Ana Ruiz's dog old?", "Is Bo Tan's dog old?")
        ('Ana Ruiz', 'Bo Tan')
    """
    ours, theirs = _words(question), _words(other)
    blocks = SequenceMatcher(a=ours, b=theirs, autojunk=False).get_opcodes()
    changed = [(" ".join(ours[a:b]), " ".join(theirs[c:d])) for tag, a, b, c, d in blocks if tag != "equal"]
    changed = [pair for pair in dict.fromkeys(changed) if all(pair)]
    pair = max(changed, key=lambda found: len(found[0]), default=("", ""))
    if not all(pair) or max(len(text.split()) for text in pair) > _LONGEST_NAME or renamed(question, *pair) != other:
        return _between(ours, theirs, question, other)
    return pair


def _between(ours: list[str], theirs: list[str], question: str, other: str) -> tuple[str, str]:
    """From the first word that differs to the last: names may share words."""
    if ours == theirs:
        return "", ""
    start = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
    end = next((at for at, (a, b) in enumerate(zip(ours[::-1], theirs[::-1], strict=False)) if a != b), 0)
    pair = " ".join(ours[start : len(ours) - end]), " ".join(theirs[start : len(theirs) - end])
    fits = all(pair) and max(len(text.split()) for text in pair) <= _LONGEST_NAME
    return pair if fits and renamed(question, *pair) == other else ("", "")


def _words(text: str) -> list[str]:
    """Words without what stands right after them."""
    for mark in ("'s", "’s", *"?.,!;:"):
        text = text.replace(mark, f" {mark}")
    return text.split()
