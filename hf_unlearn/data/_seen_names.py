"""Which names stand anywhere in given texts, however they are written there. Knows words; no dataset."""

import re
import unicodedata
from collections.abc import Iterable

from hf_unlearn.data._names import UNSPACED


def plain_words(text: str) -> list[str]:
    """Words without case, accents, apostrophes and hyphens, to compare names by.

    Example:
        >>> plain_words("Zoë O'Brien-García")
        ['zoe', 'o', 'brien', 'garcia']
    """
    if text.isascii():
        return re.findall(r"\w+", text.casefold())
    decomposed = unicodedata.normalize("NFKD", text)
    return re.findall(r"\w+", "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold())


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
