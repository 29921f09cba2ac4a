"""Names, numbers and dates in a text, and how many of a true answer's are in a given one. Plain strings; no model and no downloads."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hf_unlearn.functional._rouge import words


class EntityModel(Protocol):
    """Finds what a text says: a named entity recogniser, a language model that is asked, or `CapitalisedEntities`."""

    def entities(self, text: str) -> Sequence[str]:
        """What the text names, in words of the text; the order does not matter."""
        ...


@dataclass(frozen=True)
class EntityCoverage:
    """How many entities of a true answer are in a given one.

    Attributes:
        covered: Those that are.
        total: All.
    """

    covered: int
    total: int

    @property
    def share(self) -> float | None:
        """In [0, 1]; None where the true answer has none."""
        return self.covered / self.total if self.total else None


class CapitalisedEntities:
    """Runs of capitalised words, numbers, dates and addresses of mail; the same text always gives the same.

    A capitalised word at the beginning of a sentence counts unless it is one of few function words of English. Scripts without capitals have
    numbers only, and German nouns are all entities: give a model of the language there.
    """

    name = "capitalised words and numbers"

    def entities(self, text: str) -> list[str]:
        """Each once, in order.

        Example:
            >>> CapitalisedEntities().entities("The author Hsiao Yun-Hwa was born on 05/11/1991 in Taipei. She won The Oslo Prize.")
            ['Hsiao Yun-Hwa', '05/11/1991', 'Taipei', 'Oslo Prize']
        """
        text = unicodedata.normalize("NFKC", text)  # as `words` does: one sign for two characters is two
        found: list[str] = []
        run: list[str] = []
        end = 0
        for start, token in _tokens(text):
            if run and (text[end:start] != " " or not token[0].isupper()):
                found.append(" ".join(run))
                run = []
            if token[0].isupper() and "@" not in token:
                token = _POSSESSIVE.sub("", token)
                if run or token.casefold() not in _FUNCTION_WORDS:
                    run.append(token)
            elif token[0].isdigit() or "@" in token:
                found.append(token)
            end = start + len(token)
        return list(dict.fromkeys([*found, " ".join(run)] if run else found))


def entity_coverage(
    truth: str, given: str, question: str = "", model: EntityModel | None = None, *, compatible: bool = False
) -> EntityCoverage:
    """How many of the true answer's entities a given answer has, word by word, whatever the case.

    Entities that are in the question already say nothing of the answer.

    Args:
        truth: The true answer.
        given: The answer to be judged.
        question: What was asked.
        model: Finds entities; default: `CapitalisedEntities`.
        compatible: As ReLearn's code: an entity that has any word in common with the question does not count; by default one that has no
            other words.

    Example:
        "Oslo" is there, "1997" is not; "Anna" was in the question.

        >>> entity_coverage("Anna was born in Oslo in 1997.", "In Oslo, I think.", "Where was Anna born?")
        EntityCoverage(covered=1, total=2)

    Raises:
        TypeError: The model of entities gives one text, not several.
    """
    found = (model or CapitalisedEntities()).entities(truth)
    if isinstance(found, str):
        raise TypeError(f"entities(text) must give a list of texts, {type(model).__name__} gave one text.")
    asked = set(words(question, stem=False))
    alone = any if compatible else all
    expected = {tuple(words(entity, stem=False)) for entity in found}
    expected = {entity for entity in expected if entity and not alone(word in asked for word in entity)}
    said = f" {' '.join(words(given, stem=False))} "
    return EntityCoverage(sum(f" {' '.join(entity)} " in said for entity in expected), len(expected))


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Where each word or number begins, and it, with the marks on its letters."""
    at = 0
    while match := _TOKEN.search(text, at):
        at = match.end()
        while at < len(text) and unicodedata.category(text[at])[0] == "M":
            at += 1
            while at < len(text) and text[at].isalnum():
                at += 1
        yield match.start(), text[match.start() : at]


_TOKEN = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\d+(?:[.,:/-]\d+)*(?![^\W_])|[^\W_]+(?:[-'’.][^\W_]+)*", re.UNICODE)
_POSSESSIVE = re.compile(r"['’]s$")
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "about",
        "after",
        "all",
        "also",
        "although",
        "an",
        "and",
        "another",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "both",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "during",
        "each",
        "either",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "however",
        "i",
        "if",
        "in",
        "indeed",
        "into",
        "is",
        "it",
        "its",
        "let",
        "like",
        "many",
        "may",
        "me",
        "might",
        "more",
        "most",
        "much",
        "my",
        "neither",
        "no",
        "nor",
        "not",
        "of",
        "on",
        "one",
        "or",
        "our",
        "out",
        "over",
        "perhaps",
        "she",
        "should",
        "since",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "though",
        "through",
        "thus",
        "to",
        "under",
        "until",
        "up",
        "us",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "while",
        "who",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "yes",
        "yet",
        "you",
        "your",
    ]
)
