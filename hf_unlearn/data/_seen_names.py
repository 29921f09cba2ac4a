"""Whether a name stands in texts however it is written there. Knows words; no dataset."""

import re
import unicodedata
from collections.abc import Iterable

from hf_unlearn.data._names import UNSPACED, mentions


_STROKES = str.maketrans(
    {
        "ł": "l",
        "Ł": "L",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "ħ": "h",
        "Ħ": "H",
        "ı": "i",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
    }
)
"""Letters that Unicode does not take apart, and how they are written where they are missing."""


def unaccented(text: str) -> str:
    """The text without accents.

    Example:
        >>> unaccented("Łukasz O'Neill-Müller")
        "Lukasz O'Neill-Muller"
    """
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text.translate(_STROKES))
    return unicodedata.normalize("NFC", "".join(letter for letter in decomposed if not unicodedata.combining(letter)))


def mentions_loosely(text: str, name: str, *, parts: bool = False) -> bool:
    """As `mentions`, whatever the accents, and with spaces for hyphens or the other way round.

    Example:
        >>> mentions_loosely("Who is jean luc muller?", "Jean-Luc Müller"), mentions_loosely("Is Jean-Luc Muller?", "Luc Müller")
        (True, False)
        >>> mentions_loosely("Does Muller sing?", "Jean-Luc Müller", parts=True)
        True
    """
    text, name = unaccented(text), " ".join(unaccented(name).split())
    if mentions(text, name, parts=parts):
        return True
    spaced = re.sub(r"(?<=\w)[-\u2010\u2011\u2013](?=\w)", " ", name)
    joined = (f"{spaced[:at]}-{spaced[at + 1 :]}" for at, letter in enumerate(spaced) if letter == " ")
    return any(mentions(text, form) for form in (spaced, *joined))


def plain_words(text: str) -> list[str]:
    """Words without case, accents, apostrophes and hyphens, to compare names by.

    Example:
        >>> plain_words("Zoë O'Brien-García")
        ['zoe', 'o', 'brien', 'garcia']
    """
    return re.findall(r"\w+", unaccented(text).casefold())


class SeenNames:
    """Which names stand anywhere in given texts, as whole words, whatever their case, accents and hyphens.

    Args:
        texts: All that may hold a name.

    Example:
        >>> seen = SeenNames(["Where did ANA VÁSQUEZ live?"])
        >>> "Ana Vasquez" in seen, "Ana" in seen, "Vas" in seen
        (True, True, False)
    """

    def __init__(self, texts: Iterable[str]):
        self._texts = [plain_words(text) for text in texts]
        self._runs: dict[int, set[str]] = {}

    def __contains__(self, name: str) -> bool:
        words = plain_words(name)
        if re.search(f"[{UNSPACED}]", unicodedata.normalize("NFC", name)):
            return any("".join(words) in "".join(text) for text in self._texts)
        length = len(words)
        if length not in self._runs:
            self._runs[length] = {
                " ".join(text[at : at + length]) for text in self._texts for at in range(len(text) - length + 1)
            }
        return " ".join(words) in self._runs[length]
