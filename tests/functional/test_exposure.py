"""Exposure: ranks by hand, the skew-normal form against scipy and an exact tail, ties and destroyed models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, skewnorm

from hf_unlearn.functional import exposure_by_rank, exposure_by_skew_normal, relative_exposure
from hf_unlearn.functional._exposure import _log_cdf, _skew_normal


log_likelihoods = st.floats(-200, 0)


@given(log_likelihoods, st.lists(log_likelihoods, min_size=1, max_size=20))
def test_rank_by_hand(own: float, candidates: list[float]) -> None:
    more = sum(other > own for other in candidates)
    alike = sum(other == own for other in candidates)
    assert exposure_by_rank(own, candidates) == pytest.approx(np.log2(len(candidates) / (1 + more + alike / 2)))


def test_ties_are_no_exposure() -> None:
    """A destroyed model gives all answers the same: of four candidates rank 1 + 4/2 = 3, log2(4/3); it does not pass for a memorised one."""
    for value in (-5.0, -np.inf):
        assert exposure_by_rank(value, [value] * 4) == pytest.approx(np.log2(4 / 3))
    assert exposure_by_rank(-1.0, [-2.0] * 1024) == 10.0, "all of R less likely: log2 |R|"
    assert exposure_by_rank(-np.inf, [-1.0, -2.0]) == pytest.approx(np.log2(2 / 3))


@pytest.mark.parametrize("shape", [-30.0, -4.0, -0.5, 0.0, 0.5, 4.0, 30.0])
@pytest.mark.parametrize("at", [-8.0, -2.0, -0.3, 0.0, 0.4, 2.0, 7.0])
def test_the_tail_is_scipys_where_scipy_has_it(shape: float, at: float) -> None:
    """With differences of Owen's function scipy loses tails below about 1e-20."""
    wanted = skewnorm.logcdf(at, shape)
    if wanted > -30:
        assert _log_cdf(at, shape) == pytest.approx(wanted, rel=1e-8, abs=1e-12)


def test_the_far_tail() -> None:
    """Shape 0 is the normal distribution. At −½ with shape 30 the integral at 40 digits (mpmath) is −122.60126034134166."""
    for at in (-40.0, -12.0, 6.0):
        assert _log_cdf(at, 0.0) == pytest.approx(norm.logcdf(at), rel=1e-9)
    assert _log_cdf(-0.5, 30.0) == pytest.approx(-122.60126034134166, rel=1e-10)
    assert np.isfinite(_log_cdf(-30.0, 30.0))


@pytest.mark.parametrize("shape", [-6.0, 0.0, 2.0])
def test_moments_are_those_of_the_values(shape: float) -> None:
    values = skewnorm.rvs(shape, loc=3.0, scale=2.0, size=500, random_state=0)
    fitted = skewnorm.stats(*_skew_normal(values), moments="mvs")
    skewness = np.mean(((values - values.mean()) / values.std()) ** 3)
    assert np.allclose(fitted, [values.mean(), values.var(), skewness], rtol=1e-6, atol=1e-6)


def test_both_forms_agree_where_there_are_many_candidates() -> None:
    """Of 20,000 skew-normal log-perplexities the share below x is log2-close to the fitted one, for x at a quantile of 1 in 16: 4 bits."""
    values = skewnorm.rvs(3.0, loc=50.0, scale=5.0, size=20_000, random_state=1)
    own = float(np.quantile(values, 1 / 16))
    assert exposure_by_rank(-own, -values) == pytest.approx(4.0, abs=0.01)
    assert exposure_by_skew_normal(-own, -values) == pytest.approx(4.0, abs=0.1)


def test_what_cannot_be_fitted() -> None:
    assert np.isnan(exposure_by_skew_normal(-1.0, [-2.0, -2.0, -2.0]))
    assert np.isnan(exposure_by_skew_normal(-1.0, [-2.0, -3.0, -np.inf]))
    assert exposure_by_skew_normal(-np.inf, [-2.0, -3.0, -5.0]) == 0.0
    assert exposure_by_skew_normal(-1e6, [-2.0, -3.0, -5.0]) == pytest.approx(0.0, abs=1e-12)
    assert exposure_by_skew_normal(-0.1, [-200.0, -210.0, -220.0]) > 50
    with pytest.raises(ValueError, match="at least 3"):
        exposure_by_skew_normal(-1.0, [-2.0, -3.0])


@given(log_likelihoods, st.lists(log_likelihoods, min_size=1, max_size=9))
def test_relative_exposure_by_hand(own: float, others: list[float]) -> None:
    wanted = own / np.log(2) - np.log2(np.mean(np.exp(others)))
    assert relative_exposure(own, others) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert relative_exposure(own, [own]) == pytest.approx(0.0, abs=1e-12)


def test_relative_exposure_without_end() -> None:
    assert relative_exposure(-1.0, [-np.inf]) == np.inf and relative_exposure(-np.inf, [-1.0]) == -np.inf
    assert np.isnan(relative_exposure(-np.inf, [-np.inf]))
    assert relative_exposure(-5000.0, [-5000.0, -5000.0]) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("function", [exposure_by_rank, exposure_by_skew_normal, relative_exposure])
def test_nan_and_nothing_are_refused(function) -> None:
    with pytest.raises(ValueError, match="NaN"):
        function(float("nan"), [-1.0, -2.0, -3.0])
    with pytest.raises(ValueError, match="NaN"):
        function(-1.0, [-1.0, float("nan"), -3.0])
    with pytest.raises(ValueError, match="to compare with, got 0"):
        function(-1.0, [])
