"""ROUGE between two texts: how much of a true answer is in a given one. Knows plain strings; no model and no tokenizer of a model.

Tokens are words, lowercase, stemmed by Porter's rules where they are English letters and digits. Two ways of finding them:

* By default every letter counts, of whatever script, with the marks on it; in scripts that do not put spaces between words (Chinese,
  Japanese, Thai, …) each character is a word. On text of ASCII characters this is the same as the other.
* `compatible=True` is what rouge-score does: everything that is no ASCII letter or digit divides words. An answer in Cyrillic or
  Chinese has no words then, and scores 0 however right it is; "café" is the word "caf".

The longest common subsequence is found bit-parallel (Hyyrö 2004), 64 words at a time: two answers of 100,000 characters take a fraction of a second,
where the quadratic table of rouge-score takes minutes and gigabytes.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


ASCII_WORD = re.compile(r"[a-z0-9]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Characters of scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han."""


@dataclass(frozen=True)
class Rouge:
    """How much two texts have in common, in words.

    Attributes:
        recall: Share of the true text's words, in [0, 1].
        precision: Share of the given text's words, in [0, 1].
        f_measure: 2 · precision · recall / (precision + recall), in [0, 1].
    """

    recall: float
    precision: float
    f_measure: float


def rouge_l(truth: str, given: str, *, stem: bool = True, compatible: bool = False) -> Rouge | None:
    """By the longest common subsequence of words (Lin 2004).

    Args:
        truth: The true text.
        given: The text to be judged.
        stem: Whether words with one stem are one word (English).
        compatible: Words as rouge-score finds them, see above; a true text without words then gives 0.

    Returns:
        None where the true text has no words: nothing could be found again.

    Example:
        Of "the cat sat down" the given text has "the", "sat" and "down" in that order: 3 of 4 words, and 3 of its own 5.

        >>> rouge_l("The cat sat down.", "the dog, too, sat down")
        Rouge(recall=0.75, precision=0.6, f_measure=0.6666666666666665)
    """
    expected, found = (words(text, stem=stem, compatible=compatible) for text in (truth, given))
    return _scores(common_subsequence(expected, found), expected, found, compatible=compatible)


def rouge_1(truth: str, given: str, *, stem: bool = True, compatible: bool = False) -> Rouge | None:
    """By single words, each as often as it is in both; otherwise as `rouge_l`.

    Example:
        Order does not matter: all three are there.

        >>> rouge_1("a b c", "c b a x").recall
        1.0
    """
    expected, found = (words(text, stem=stem, compatible=compatible) for text in (truth, given))
    return _scores((Counter(expected) & Counter(found)).total(), expected, found, compatible=compatible)


def words(text: str, *, stem: bool = True, compatible: bool = False) -> list[str]:
    """What ROUGE compares.

    Args:
        text: Any text.
        stem: Whether words of more than three ASCII letters and digits are cut to their stems.
        compatible: As rouge-score finds them.

    Example:
        >>> words("Émile's running, 你好!")
        ['émile', 's', 'run', '你', '好']
        >>> words("Émile's running, 你好!", compatible=True)
        ['mile', 's', 'run']
    """
    found = ASCII_WORD.findall(text.lower()) if compatible or text.isascii() else _unicode_words(text)
    return [_stem(word) if len(word) > 3 and word.isascii() else word for word in found] if stem else found


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Example:
        "b", "d" is one of length 2; there is none of length 3.

        >>> common_subsequence("abcd", "bad")
        2
    """
    if len(one) > len(other):
        one, other = other, one
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(one)) - 1
    row = everything  # zeros are where the length grows by one
    for word in other:
        if hits := row & places.get(word, 0):
            row = (row + hits | row - hits) & everything
    return len(one) - row.bit_count()


def _scores(common: int, truth: Sequence[str], given: Sequence[str], *, compatible: bool) -> Rouge | None:
    if not truth:
        return Rouge(0.0, 0.0, 0.0) if compatible else None
    recall, precision = common / len(truth), common / max(1, len(given))
    return Rouge(recall, precision, 2 * precision * recall / (precision + recall) if common else 0.0)


def _unicode_words(text: str) -> list[str]:
    found: list[str] = []
    current, after_single = "", False
    for character in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(character)[0]
        if kind == "M" and (current or after_single):  # a mark belongs to the letter that it is on
            if current:
                current += character
            else:
                found[-1] += character
            continue
        after_single = kind in "LN" and _UNSPACED.match(character) is not None
        if current and (after_single or kind not in "LN"):
            found.append(current)
            current = ""
        if after_single:
            found.append(character)
        elif kind in "LN":
            current += character
    return [*found, current] if current else found


@lru_cache(maxsize=2**16)
def _stem(word: str) -> str:
    return _stemmer().stem(word)


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer  # takes a second to import

    return PorterStemmer()
