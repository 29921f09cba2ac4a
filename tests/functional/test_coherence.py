"""Repetition, variety and perplexity: by hand, by brute force, at the ends."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import Bootstrap, distinct_ngrams, ngrams, perplexity, repetition


sequences = st.lists(st.integers(0, 3), max_size=12)


@given(sequences, st.integers(1, 5))
def test_repetition_counts_what_was_there_before(sequence: list[int], n: int):
    grams = [tuple(sequence[at : at + n]) for at in range(len(sequence) - n + 1)]
    assert ngrams(sequence, n) == grams
    before = sum(gram in grams[:at] for at, gram in enumerate(grams))
    assert repetition(sequence, n) == (pytest.approx(before / len(grams)) if grams else None)


def test_repetition_at_its_ends():
    assert repetition([7] * 103) == pytest.approx(99 / 100)
    assert repetition(range(50)) == 0.0
    assert repetition([]) is None and repetition([1, 2, 3]) is None and repetition([1, 2, 3, 4]) == 0.0
    with pytest.raises(ValueError, match="at least 1 member, got n=0"):
        repetition([1], 0)


@given(st.lists(sequences, min_size=1, max_size=6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_variety_without_each_cluster_is_what_is_left(texts: list[list[int]], n: int, random):
    clusters = [random.randint(0, 2) for _ in texts]
    found = distinct_ngrams(texts, n, clusters, num_clusters=3)

    def share(kept: list[list[int]]) -> float:
        grams = [gram for text in kept for gram in ngrams(text, n)]
        return len(set(grams)) / len(grams) if grams else math.nan

    whole = share(texts)
    assert found is None if math.isnan(whole) else found.value == pytest.approx(whole)
    without = [
        share([text for text, c in zip(texts, clusters, strict=True) if c != left]) for left in sorted({*clusters})
    ]
    if found is not None and found.influence is not None and len(without) == 3:
        expected = 2 * (np.mean(without) - np.array(without))
        assert found.influence == pytest.approx(expected)


def test_one_answer_to_everything():
    texts = [["I", "do", "not", "know"]] * 10
    assert distinct_ngrams(texts, 2).value == pytest.approx(3 / 30)
    assert distinct_ngrams([["a", "b"], ["c", "d"]], 2).value == 1.0
    assert distinct_ngrams([[], ["a"]], 2) is None
    assert distinct_ngrams([["a", "b"], []], 2).influence is None, "one text says everything"
    assert Bootstrap().interval(distinct_ngrams(texts, 2)) is not None


def test_order_of_texts_does_not_matter():
    generator = np.random.default_rng(0)
    texts = [generator.integers(0, 9, size).tolist() for size in generator.integers(2, 9, 20)]
    one, other = distinct_ngrams(texts, 2), distinct_ngrams(texts[::-1], 2)
    assert one.value == other.value
    assert Bootstrap().interval(one) == pytest.approx(Bootstrap().interval(other))


def test_perplexity():
    assert perplexity([0.0, 0.0]) == 1.0
    assert perplexity(np.log([0.25] * 7)) == pytest.approx(4.0)
    assert perplexity([-math.inf, 0.0]) == math.inf
