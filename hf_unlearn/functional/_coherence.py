"""Whether generated texts hang together: repetition within a text, sameness across texts, likelihood. Any sequences: tokens or words; no model."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from hf_unlearn.functional._estimates import cluster_numbers, jackknife_estimate
from hf_unlearn.functional._uncertainty import Estimate


def repetition(sequence: Sequence[Hashable], n: int = 4) -> float | None:
    """Share of n-grams that were in the sequence before (seq-rep-n of Welleck et al. 2019): 1 − different n-grams / n-grams.

    Args:
        sequence: Tokens or words of one text.
        n: At least 1.

    Returns:
        In [0, 1), 0 = nothing is said twice; None where the sequence has no n-gram.

    Raises:
        ValueError: `n` below 1.

    Example:
        "a b", "b a", "a b", "b a", "a b": two different ones of five.

        >>> repetition("ababab", 2)
        0.6
    """
    grams = ngrams(sequence, n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def distinct_ngrams(
    sequences: Sequence[Sequence[Hashable]],
    n: int = 2,
    clusters: Sequence | np.ndarray | None = None,
    *,
    num_clusters: int | None = None,
) -> Estimate | None:
    """Share of all n-grams of a set of texts that are different (distinct-n of Li et al. 2016).

    It falls with the number of texts, as words run out: compare sets of one size. The influence of a cluster is what the share is without it
    (jackknife); intervals from it are rather too wide than too narrow, most so where all texts are noise.

    Args:
        sequences: Tokens or words of each text.
        n: At least 1.
        clusters: Which texts belong together, shape `(texts,)`; default: each by itself.
        num_clusters: As for `mean_estimate`.

    Returns:
        In (0, 1], 1 = no n-gram occurs twice; None where there is no n-gram.

    Raises:
        ValueError: `n` below 1, or clusters that do not match the texts.

    Example:
        "a b", "b c", "a b": two of three.

        >>> round(distinct_ngrams([["a", "b", "c"], ["a", "b"]]).value, 6)
        0.666667
    """
    numbers, count = cluster_numbers(clusters, len(sequences), num_clusters)
    of_cluster: list[Counter] = [Counter() for _ in range(count)]
    for number, sequence in zip(numbers, sequences, strict=True):
        of_cluster[number].update(ngrams(sequence, n))
    whole: Counter = Counter()
    for counts in of_cluster:
        whole.update(counts)
    total, different = whole.total(), len(whole)
    if not total:
        return None
    own = [sum(whole[gram] == times for gram, times in counts.items()) for counts in of_cluster]
    left = [total - counts.total() for counts in of_cluster]
    if not all(left):
        return Estimate(different / total, None, "logit")  # one cluster says everything
    without = np.array([(different - mine) / rest for mine, rest in zip(own, left, strict=True)])
    return jackknife_estimate(different / total, without, [numbers], scale="logit")


def perplexity(log_probs: Sequence[float] | np.ndarray) -> float:
    """exp(− mean log-probability) of a text's tokens.

    Args:
        log_probs: Of each token, nats.

    Returns:
        From 1 on, 1 = every token was certain; infinite where one was impossible.

    Example:
        Two tokens of probability ½ and ⅛: the geometric mean is ¼.

        >>> round(perplexity(np.log([1 / 2, 1 / 8])), 9)
        4.0
    """
    with np.errstate(over="ignore"):
        return float(np.exp(-np.mean(np.asarray(log_probs, np.float64))))


def ngrams(sequence: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    """All runs of n neighbours, in order.

    Raises:
        ValueError: `n` below 1.

    Example:
        >>> ngrams("abc", 2)
        [('a', 'b'), ('b', 'c')]
    """
    if n < 1:
        raise ValueError(f"an n-gram has at least 1 member, got n={n}.")
    return list(zip(*(sequence[start:] for start in range(n)), strict=False))
