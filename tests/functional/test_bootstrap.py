import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import bootstrap_means, percentile_interval, relative


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
    many = np.ones(5_000_000)
    assert bootstrap_means(many, num_resamples=2).tolist() == [1.0, 1.0]  # one resample a block


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
