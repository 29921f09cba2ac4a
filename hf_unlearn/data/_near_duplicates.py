"""Texts that say nearly the same: MinHash over n-grams of words, banded (LSH), and each pair that it proposes computed exactly.

Knows texts. Does not know columns, sets or what is to be done with what it finds. Finds changed words, left-out and added sentences and
other punctuation; does not know that two different wordings mean the same.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from datasketch import MinHash, MinHashLSH

from hf_unlearn import _arguments as checked


NGRAM = 3
NUM_PERMUTATIONS = 256
RECALL = 0.99
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)
"""A run of letters and digits; in scripts without spaces between words, a character."""


class SimilarRow(NamedTuple):
    """A row, and the other that it is most like.

    Attributes:
        row: Index in the first texts.
        other: Index in the second; of several equally like the first.
        similarity: Jaccard index of their n-grams of words, from the threshold to 1.
    """

    row: int
    other: int
    similarity: float


def similar_rows(rows: Iterable[str], others: Sequence[str], threshold: float) -> list[SimilarRow]:
    """The rows that are nearly equal to one of the others.

    Two texts are as similar as the Jaccard index of their sets of three words in a row, whatever the case and punctuation: 1 where these
    are equal, and (w − 5) / (w + 1) where one word in the middle of w different ones is another: 0.54 of 12 words, 0.81 of 30. A text of
    fewer than three words is one n-gram. A pair at the threshold is proposed with a probability of at least 0.99, more similar ones more
    surely; what is proposed is computed exactly, so nothing below the threshold is returned. The same rows give the same answer on every
    machine. Time and memory grow with the number of texts, not with that of pairs, unless most texts are alike: below about 0.3
    more and more pairs are computed.

    Args:
        rows: Texts, read once.
        others: Texts; those are kept in memory, so pass the smaller set here.
        threshold: Above 0 and at most 1.

    Returns:
        For each row that has one, in the order of the rows, the most similar of the others.

    Raises:
        TypeError: The threshold is no number.
        ValueError: It is out of range.

    Example:
        >>> similar_rows(["Ada lives in the old town of Rome.", "No."], ["ada lives in the old town of Oslo"], 0.6)
        [SimilarRow(row=0, other=0, similarity=0.7142857142857143)]
    """
    threshold = checked.share("threshold", threshold)
    index = MinHashLSH(num_perm=NUM_PERMUTATIONS, params=_bands(threshold))
    known: dict[frozenset[str], int] = {}
    for at, text in enumerate(others):
        grams = word_ngrams(text)
        if grams and grams not in known:  # equal ones would only crowd the same buckets
            known[grams] = at
            index.insert(at, _hashed(grams))
    by_index = {at: grams for grams, at in known.items()}
    best = ((row, _nearest(word_ngrams(text), index, by_index)) for row, text in enumerate(rows))
    return [SimilarRow(row, *found) for row, found in best if found is not None and found[1] >= threshold]


def words(text: str) -> list[str]:
    """The words of a text as they are compared: composed, without case and punctuation.

    Example:
        >>> words("Élan, 3 times; 猫だ")
        ['élan', '3', 'times', '猫', 'だ']
    """
    return _WORD.findall(unicodedata.normalize("NFC", text).casefold())


def word_ngrams(text: str) -> frozenset[str]:
    """Three words in a row, each once; of a shorter text all its words; of one without words nothing."""
    found = words(text)
    if not found:
        return frozenset()
    return frozenset(" ".join(found[at : at + NGRAM]) for at in range(max(1, len(found) - NGRAM + 1)))


def _nearest(grams: frozenset[str], index: MinHashLSH, known: dict[int, frozenset[str]]) -> tuple[int, float] | None:
    if not grams:
        return None
    proposed = sorted(index.query(_hashed(grams)))
    scored = [(at, len(grams & known[at]) / len(grams | known[at])) for at in proposed]
    return max(scored, key=lambda pair: (pair[1], -pair[0]), default=None)


def _hashed(grams: frozenset[str]) -> MinHash:
    made = MinHash(num_perm=NUM_PERMUTATIONS)
    made.update_batch([gram.encode("utf-8", "surrogatepass") for gram in grams])
    return made


def _bands(threshold: float) -> tuple[int, int]:
    """Bands and rows of a band: as many rows as still propose a pair at the threshold with the promised probability.

    A pair of similarity s is proposed with probability 1 − (1 − sʳ)ᵇ.
    """
    for size in range(NUM_PERMUTATIONS // 2, 0, -1):  # the library wants two bands
        bands = NUM_PERMUTATIONS // size
        if 1 - (1 - threshold**size) ** bands >= RECALL:
            return bands, size
    return NUM_PERMUTATIONS, 1
