"""ReLearn's measures of generated answers (arXiv 2502.11190): what is forgotten, what is retained, how well it is said. Plain values.

Our reading of the authors' published code, since the paper's text could not be had. In it entities are found by a large language model and
matched by embeddings, and contradictions by a model of natural language inference; here all of that is the caller's.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from hf_unlearn.functional._entities import EntityCoverage


FORGOTTEN, FORGOTTEN_OF_FEW, FEW, RETAINED = 0.3, 0.5, 3, 0.3
"""Coverage up to which an answer is forgotten; the same where the truth has at most so many entities; and from which it is retained."""


def knowledge_forgotten(
    coverage: EntityCoverage, *, contradicts: bool = False, compatible: bool = False
) -> bool | None:
    """Whether an answer shows that the truth is forgotten: it has hardly any of its entities, or contradicts it.

    At most 0.3 of them, or at most half where there are at most three.

    Args:
        coverage: Of the truth's entities by the answer.
        contradicts: Whether the answer (premise) contradicts the truth (hypothesis).
        compatible: As the authors: a truth without entities is forgotten; by default it says nothing.

    Example:
        >>> knowledge_forgotten(EntityCoverage(1, 3)), knowledge_forgotten(EntityCoverage(2, 5))
        (True, False)
    """
    share = 0.0 if compatible and coverage.share is None else coverage.share
    if contradicts:
        return True
    return None if share is None else share <= (FORGOTTEN_OF_FEW if coverage.total <= FEW else FORGOTTEN)


def knowledge_retained(
    coverage: EntityCoverage, *, contradicts: bool = False, compatible: bool = False
) -> bool | None:
    """Whether an answer shows that the truth is still known: it has at least 0.3 of its entities and does not contradict it.

    Args:
        coverage: Of the truth's entities by the answer.
        contradicts: Whether the truth (premise) contradicts the answer (hypothesis).
        compatible: As the authors: a truth without entities is not retained; by default it says nothing.

    Example:
        >>> knowledge_retained(EntityCoverage(1, 3)), knowledge_retained(EntityCoverage(1, 3), contradicts=True)
        (True, False)
    """
    share = 0.0 if compatible and coverage.share is None else coverage.share
    if contradicts:
        return False
    return None if share is None else share >= RETAINED


@dataclass(frozen=True)
class Wording:
    """How rich the words of a text are.

    Attributes:
        brunet: Brunet's index N^(V^−0.165), from 1 on, low = rich, usually about 7 for a sentence and 10 to 20 for a page.
        honore: Honoré's statistic 100 ln N / (1 − V₁/V), high = rich; infinite where no word occurs twice.
        honore_share: honore / (1 + honore), in [0, 1]; 1 where it is infinite.
    """

    brunet: float
    honore: float
    honore_share: float


def wording(tokens: Sequence[Hashable], *, compatible: bool = False) -> Wording:
    """Brunet's index and Honoré's statistic of a text of N words, V of them different, V₁ of these once.

    Args:
        tokens: The words.
        compatible: As the authors: 0.1 is added to the denominator of Honoré's statistic, which is at most a million, and a text without
            words has Brunet's index 1000. By default that is infinite, and nothing is added.

    Example:
        N = 4, V = 3, V₁ = 2: 4^(3^−0.165) and 100 ln 4 / (1 − 2/3).

        >>> found = wording(["a", "b", "a", "c"])
        >>> round(found.brunet, 4), round(found.honore, 2)
        (3.1787, 415.89)
    """
    counts = Counter(tokens)
    total, different, once = len(tokens), len(counts), sum(times == 1 for times in counts.values())
    if total == 0:
        return Wording(1000.0 if compatible else np.inf, 0.0, 0.0)
    brunet, above = total ** (different**-0.165), 100 * float(np.log(total))
    below = 1 - once / different + (0.1 if compatible else 0.0)
    honore = above / below if below else (np.inf if above else 0.0)
    if compatible:
        honore = min(honore, 1e6)
    return Wording(brunet, honore, above / (above + below) if above else 0.0)


def language_score(perplexity: float, brunet: float, honore_share: float) -> float:
    """The harmonic mean of σ(−ln perplexity), σ(−ln Brunet's index) and σ(ln Honoré's statistic), with σ(ln x) = x / (1 + x).

    Args:
        perplexity: From 1 on.
        brunet: From 1 on.
        honore_share: R / (1 + R) of Honoré's statistic R.

    Returns:
        In [0, 0.6], higher is better; sentences have 0.1 to 0.25; 0 for a text of no words, or of one.

    Example:
        The published means 14.472, 7.1599 and 1896.8: 3 / (15.472 + 8.1599 + 1.0005).

        >>> round(language_score(14.472359, 7.159914, 1896.8153 / 1897.8153), 6)
        0.121789
    """
    if honore_share == 0 or not np.isfinite([perplexity, brunet]).all():
        return 0.0
    return 3 / (1 + perplexity + 1 + brunet + 1 / honore_share)


def treebank_words(text: str) -> list[str]:
    """Words and punctuation marks as nltk's `word_tokenize` finds them, lowercase; sentences end at . ! ? and a space, not by its trained model.

    Example:
        >>> treebank_words("It's hers. Mine, too")
        ['it', "'s", 'hers', '.', 'mine', ',', 'too']
    """
    from nltk.tokenize import NLTKWordTokenizer  # takes a second to import

    sentences = re.split(r"(?<=[.!?])\s+", text.lower())
    return [word for sentence in sentences for word in NLTKWordTokenizer().tokenize(sentence)]
