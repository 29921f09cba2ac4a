"""Scores of membership attacks from numbers per token: known answers, brute force, and odd answers."""

import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import (
    gradient_norm_score,
    loss_score,
    min_k_plus_plus_score,
    min_k_score,
    reference_score,
    zlib_score,
)


def by_sorting(values: np.ndarray, k: float) -> float:
    """Min-K% as the field's code has it, with at least one token."""
    return float(np.mean(np.sort(values)[: max(1, int(len(values) * k))]))


@pytest.mark.parametrize("tokens", [1, 2, 4, 5, 9, 10, 11, 100, 10_000])
@pytest.mark.parametrize("k", [0.2, 0.4, 0.05, 1.0])
def test_min_k_is_the_mean_of_the_least_likely(tokens: int, k: float):
    """One token has no share of 20 %, and counts all the same; ties at the border do not matter."""
    generator = np.random.default_rng(tokens)
    for values in (-generator.exponential(2, tokens), -generator.integers(0, 3, tokens).astype(float)):
        assert min_k_score(values, k) == pytest.approx(by_sorting(values, k), rel=1e-12)


def test_share_is_counted_in_tokens_not_in_rounding():
    """0.29 · 100 is 28.999999999999996 in floating point, and means 29."""
    values = -np.arange(100.0)
    assert min_k_score(values, 0.29) == pytest.approx(-np.arange(71, 100).mean())


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=40), st.integers(0, 1000))
def test_order_of_tokens_does_not_matter(values: list[float], seed: int):
    mixed = np.random.default_rng(seed).permutation(values)
    assert loss_score(mixed) == pytest.approx(loss_score(values))
    assert min_k_score(mixed) == pytest.approx(min_k_score(values))
    assert min_k_score(values, 1.0) == pytest.approx(loss_score(values))
    assert min_k_score(values, 0.2) <= loss_score(values) + 1e-9


def test_min_k_plus_plus_from_whole_distributions():
    """Mean and deviation of log p(z), z ~ p, from the vocabulary itself."""
    generator = np.random.default_rng(0)
    log_p = np.log(generator.dirichlet(np.full(7, 0.4), size=30))
    targets = generator.integers(0, 7, 30)
    own = log_p[np.arange(30), targets]
    p = np.exp(log_p)
    mean = (p * log_p).sum(1)
    std = np.sqrt((p * log_p**2).sum(1) - mean**2)
    assert min_k_plus_plus_score(own, mean, std, 0.4) == pytest.approx(by_sorting((own - mean) / std, 0.4))


def test_a_model_without_doubt_has_no_deviation_to_divide_by():
    """Sure and right: 0, as expected of itself. Sure and wrong: far below, and a number."""
    assert min_k_plus_plus_score([0.0], [0.0], [0.0]) == 0.0
    assert min_k_plus_plus_score([-40.0], [0.0], [0.0]) == pytest.approx(-40_000)


@pytest.mark.parametrize("text", ["", "a", "aaaa" * 1000, "日本語 🙂 ñ", "\ud83d half a pair", "a\x00b"])
def test_zlib_counts_bytes_of_any_text(text: str):
    size = len(zlib.compress(text.encode("utf-8", "surrogatepass")))
    assert zlib_score([-2.0, -4.0], text) == pytest.approx(-6 / size)
    assert zlib_score([-2.0, -4.0], text, per_token=True) == pytest.approx(-3 / size)


def test_zlib_of_the_field_rewards_length():
    """Equally likely per token and per byte, one answer ten times as long: only the field's form calls it a member."""
    generator = np.random.default_rng(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    short, long = ("".join(generator.choice(list(letters), size)) for size in (1000, 10_000))
    ours = [zlib_score(np.full(size, -1.0), text) for size, text in ((1000, short), (10_000, long))]
    fields = [zlib_score(np.full(size, -1.0), text, per_token=True) for size, text in ((1000, short), (10_000, long))]
    assert ours[0] / ours[1] == pytest.approx(1, abs=0.05)
    assert fields[0] / fields[1] == pytest.approx(10, rel=0.1)


def test_a_model_that_denies_a_token_scores_lowest():
    assert loss_score([-1.0, -math.inf]) == min_k_score([-1.0, -math.inf]) == -math.inf
    assert zlib_score([-1.0, -math.inf], "x") == -math.inf


def test_reference_and_gradient():
    assert reference_score([-1.0], [-3.0, -2.0]) == 1.5
    assert gradient_norm_score(0.0) == 0.0
    with pytest.raises(ValueError, match="from 0 on, got nan"):
        gradient_norm_score(math.nan)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: loss_score([]), "at least one token"),
        (lambda: loss_score([[-1.0]]), r"shape \(1, 1\)"),
        (lambda: min_k_score([-1.0, math.nan, -2.0]), "1 of 3 tokens have NaN"),
        (lambda: min_k_score([-1.0], 0.0), "k is a share"),
        (lambda: min_k_score([-1.0], 1.5), "k is a share"),
        (lambda: min_k_plus_plus_score([-1.0], [0.0], [1.0, 1.0]), "got 1, 1 and 2"),
        (lambda: min_k_plus_plus_score([-1.0], [math.nan], [1.0]), "NaN"),
        (lambda: reference_score([-1.0], []), "at least one token"),
    ],
)
def test_what_has_no_score_is_refused(call, words: str):
    with pytest.raises(ValueError, match=words):
        call()
