"""From rows to estimates: areas under the curve, linearised statistics, sets of which only some clusters have rows."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import (
    Bootstrap,
    auc_estimate,
    clusters_by_content,
    influence_estimate,
    ks_estimate,
    mean_estimate,
)


def delong(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Area and standard error from the matrix of won pairs, as in the paper."""
    won = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    of_positive, of_negative = won.mean(1), won.mean(0)
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    return float(won.mean()), math.sqrt(variance)


@given(st.integers(0, 1000), st.integers(2, 30), st.integers(2, 30), st.sampled_from([1, 3, 1000]))
def test_area_is_mann_whitneys_and_its_error_delongs(seed: int, m: int, n: int, levels: int):
    """With 1 or 3 levels most pairs are ties."""
    generator = np.random.default_rng(seed)
    positive, negative = generator.integers(0, levels, m) + 1.0, generator.integers(0, levels, n).astype(float)
    found = auc_estimate(positive, negative)
    area, error = delong(positive, negative)
    assert found.value == pytest.approx(scipy.stats.mannwhitneyu(positive, negative).statistic / (m * n))
    assert found.value == pytest.approx(area) and found.standard_error == pytest.approx(error, abs=1e-12)
    assert found.influence.sum() == pytest.approx(0, abs=1e-9)


def test_area_over_clusters():
    """Ten copies of every row: the same area, and with clusters the same standard error."""
    generator = np.random.default_rng(0)
    positive, negative = generator.normal(1, 1, 12), generator.normal(0, 1, 9)
    once = auc_estimate(positive, negative)
    clusters = np.repeat(np.arange(21), 10)
    copied = auc_estimate(np.repeat(positive, 10), np.repeat(negative, 10), clusters)
    assert copied.value == pytest.approx(once.value)
    assert copied.standard_error == pytest.approx(once.standard_error)
    assert copied.num_clusters == 9
    assert auc_estimate(np.repeat(positive, 10), np.repeat(negative, 10)).standard_error < once.standard_error / 2


def test_area_with_both_kinds_of_rows_in_a_cluster():
    """Each person gives one row of each kind: the jackknife over persons has the same standard error to a few per cent."""
    generator = np.random.default_rng(1)
    person = generator.normal(0, 2, 60)
    positive, negative = person + generator.normal(0.5, 1, 60), person + generator.normal(0, 1, 60)
    found = auc_estimate(positive, negative, np.tile(np.arange(60), 2))
    without = [delong(np.delete(positive, at), np.delete(negative, at))[0] for at in range(60)]
    assert found.standard_error == pytest.approx(math.sqrt(59 * np.var(without)), rel=0.05)
    assert found.standard_error < 0.8 * auc_estimate(positive, negative).standard_error


def test_largest_distance_is_scipys():
    generator = np.random.default_rng(2)
    one, other = generator.normal(size=40), generator.normal(0.5, 1, size=70)
    found = ks_estimate(one, other)
    assert found.value == pytest.approx(scipy.stats.ks_2samp(one, other).statistic)
    assert Bootstrap().interval(found) is None


def test_linearised_from_leaving_rows_out_is_the_mean():
    """(n − 1)(mean of the means without one − mean without row i) is row i's deviation, also over clusters."""
    values, clusters = np.random.default_rng(3).lognormal(size=12), np.repeat(np.arange(4), [1, 2, 3, 6])
    without = (values.sum() - values) / 11
    found = influence_estimate(values.mean(), 11 * (without.mean() - without), clusters)
    np.testing.assert_allclose(found.influence, mean_estimate(values, clusters).influence)


def test_clusters_without_rows_keep_estimates_paired():
    """Five clusters, of which three have rows, 1, 2 and 6: on an axis of five, with the three's own √(14/6) = 1.5275."""
    values, clusters = np.array([1.0, 2.0, 6.0]), np.array([0, 2, 3])
    some, all_of_them = (
        mean_estimate(values, clusters, num_clusters=5),
        mean_estimate(np.arange(5.0), num_clusters=None),
    )
    assert some.influence.shape == (5,) and some.influence[[1, 4]].tolist() == [0, 0]
    assert some.num_clusters == 3 and Bootstrap().interval(some) is not None
    assert some.standard_error == pytest.approx(math.sqrt(14 / 6))
    assert some.standard_error == pytest.approx(scipy.stats.sem(values))
    assert Bootstrap().interval(some)[0] <= 3 - scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(values) + 1e-9
    assert some.minus(all_of_them).value == 1.0 and some.minus(all_of_them).num_clusters == 3
    two = mean_estimate(values[:2], clusters[:2], num_clusters=5)
    assert Bootstrap().interval(two) is None


def test_equal_items_are_one_cluster():
    assert clusters_by_content([(1, 2), (3,), (1, 2), ()]).tolist() == [0, 1, 0, 2]
    assert clusters_by_content([]).shape == (0,)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: auc_estimate(np.array([]), np.ones(2)), "rows on both sides"),
        (lambda: auc_estimate(np.ones(2), np.ones(2), [0, 1]), "each of the 4 rows"),
        (lambda: mean_estimate(np.ones(2), ["a", "b"], num_clusters=3), "numbers from 0 to 2"),
        (lambda: mean_estimate(np.ones(2), [0, 3], num_clusters=3), "numbers from 0 to 2"),
        (lambda: mean_estimate(np.ones(2), num_clusters=3), "needs clusters"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
