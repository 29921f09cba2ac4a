import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hf_unlearn.functional import _bootstrap, bootstrap_means, clusters_by_content, percentile_interval, relative


def test_resampled_means_have_the_standard_error_of_the_mean():
    """1,000 draws of variance 1 (population): the bootstrap's spread is sd/√n; within 10 % for 4,000 resamples (4.5 sd)."""
    values = np.random.default_rng(0).normal(size=1000)
    spread = bootstrap_means(values, num_resamples=4000).std()
    assert spread == pytest.approx(values.std() / np.sqrt(1000), rel=0.1)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """400 repetitions at 95 %, n = 60: coverage within 0.90 … 0.985 (binomial false alarm rate below 1e-3)."""
    generator = np.random.default_rng(1)
    hits = 0
    for repetition in range(400):
        resamples = bootstrap_means(generator.normal(size=60), num_resamples=400, seed=repetition)
        low, high = percentile_interval(resamples)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 400 <= 0.985


def test_columns_share_their_resamples():
    values = np.random.default_rng(2).normal(size=(30, 2))
    values[:, 1] = 2 * values[:, 0]
    resamples = bootstrap_means(values, num_resamples=50)
    np.testing.assert_allclose(resamples[:, 1], 2 * resamples[:, 0])


def test_seed_decides_and_blocks_do_not(monkeypatch: pytest.MonkeyPatch):
    values = np.arange(7.0)
    assert np.array_equal(bootstrap_means(values, seed=4), bootstrap_means(values, seed=4))
    assert not np.array_equal(bootstrap_means(values, seed=4), bootstrap_means(values, seed=5))
    whole = bootstrap_means(values, num_resamples=9, seed=4)
    monkeypatch.setattr(_bootstrap, "BLOCK", 2 * len(values))  # two resamples a block
    assert np.array_equal(bootstrap_means(values, num_resamples=9, seed=4), whole)


def test_clusters_are_resampled_as_wholes():
    """Ten values twenty times each: the means are those of the ten, whatever the order of the rows."""
    values = np.random.default_rng(5).normal(size=10)
    order = np.random.default_rng(6).permutation(200)
    rows, items = np.repeat(values, 20)[order], np.repeat(np.arange(10), 20)[order]
    found = bootstrap_means(rows, clusters=clusters_by_content(items.tolist()), seed=1)
    ten = bootstrap_means(values, seed=1)
    assert found.std() == pytest.approx(ten.std(), rel=0.1)  # 4.5 standard errors of 1,000 resamples
    assert bootstrap_means(rows, seed=1).std() < 0.3 * ten.std()
    with pytest.raises(ValueError, match="one for each of the 200 rows"):
        bootstrap_means(rows, clusters=np.zeros(3, int))


def test_clusters_of_unequal_size_keep_the_mean_over_rows():
    """Rows 0, 0, 0 and 1: drawn both, the mean over rows is 1/4, not 1/2."""
    found = bootstrap_means(np.array([0.0, 0, 0, 1]), clusters=np.array([0, 0, 0, 1]), num_resamples=200)
    assert set(found.tolist()) == {0.0, 0.25, 1.0}


def test_each_row_its_own_cluster_changes_nothing():
    values = np.random.default_rng(7).normal(size=(12, 2))
    assert np.array_equal(bootstrap_means(values, clusters=np.arange(12)), bootstrap_means(values))


def test_the_interval_is_scipys():
    """Percentile bootstrap of a mean against `scipy.stats.bootstrap`, other draws: ends within 4 % of the width (20,000 resamples)."""
    values = np.random.default_rng(8).exponential(size=50)
    low, high = percentile_interval(bootstrap_means(values, num_resamples=20_000))
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    width = expected.high - expected.low
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.04 * width)


@pytest.mark.parametrize(("values", "resamples"), [(np.array([]), 10), (np.ones(3), 0)])
def test_nothing_to_resample_is_an_error(values: np.ndarray, resamples: int):
    with pytest.raises(ValueError, match="resample"):
        bootstrap_means(values, num_resamples=resamples)


def test_confidence_must_be_a_share():
    with pytest.raises(ValueError, match="between 0 and 1"):
        percentile_interval(np.ones(3), confidence=95)


@given(st.floats(0, 10), st.floats(0.1, 10))
def test_relative_is_zero_at_the_floor_and_one_at_the_start(floor: float, distance: float):
    start = floor + distance
    assert relative(floor, floor=floor, start=start).value == 0
    assert relative(start, floor=floor, start=start).value == pytest.approx(1)
    assert relative(start + 2 * distance, floor=floor, start=start).value == pytest.approx(3)


def test_relative_without_meaning_is_none_with_a_reason():
    assert relative(1.0, floor=2.0, start=1.5).value is None
    assert "does not lie above floor" in str(relative(1.0, floor=2.0, start=1.5).reason)
    assert "finite" in str(relative(np.nan, floor=0.0, start=1.0).reason)


def test_relative_interval_follows_paired_resamples():
    """value = ½ (floor + start) in every resample, so the ratio is ½ in every one, however much both ends move."""
    generator = np.random.default_rng(3)
    floor, start = generator.uniform(0, 1, 200), generator.uniform(5, 9, 200)
    resamples = np.stack([(floor + start) / 2, floor, start], axis=1)
    result = relative(4.0, floor=0.5, start=7.5, resamples=resamples)
    assert result.value == 0.5
    assert result.confidence_interval == pytest.approx((0.5, 0.5))


def test_relative_interval_without_bounds_is_none_with_a_reason():
    resamples = np.stack([np.ones(100), np.zeros(100), np.linspace(-1, 3, 100)], axis=1)
    result = relative(1.0, floor=0.0, start=1.0, resamples=resamples)
    assert result.value == 1.0
    assert result.confidence_interval is None
    assert "overlap" in str(result.reason)
