"""The uncertainty of aggregates that others define, beside closed forms and brute force."""

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from hf_unlearn.functional import aggregate_estimate, mean_estimate


def mean(items) -> float:
    return sum(items) / len(items)


def test_a_mean_has_the_means_uncertainty() -> None:
    values = np.random.default_rng(0).normal(size=40)
    found, expected = aggregate_estimate(values.tolist(), mean), mean_estimate(values)
    assert found.value == pytest.approx(expected.value)
    np.testing.assert_allclose(found.influence, expected.influence, atol=1e-12)


def test_clusters_are_left_out_as_a_whole() -> None:
    generator = np.random.default_rng(1)
    clusters = np.repeat(np.arange(12), 3)
    values = generator.normal(size=12)[clusters] + 0.01 * generator.normal(size=36)
    found, expected = aggregate_estimate(values.tolist(), mean, clusters), mean_estimate(values, clusters)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-9)
    assert found.num_clusters == 12


def test_blocks_say_about_what_single_items_say() -> None:
    """1,000 pairs, 100 blocks: the standard error of a standard error from 100 blocks is about 7 %; four of them are allowed."""
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 2, 1000)
    pairs = list(zip(truth.tolist(), np.where(generator.random(1000) < 0.8, truth, 1 - truth).tolist(), strict=True))

    def correlation(items) -> float:
        return float(matthews_corrcoef(*zip(*items, strict=True)))

    found = aggregate_estimate(pairs, correlation)
    assert len(found.influence) == 100
    draws = [correlation([pairs[at] for at in generator.integers(0, 1000, 1000)]) for _ in range(200)]
    assert found.standard_error == pytest.approx(np.std(draws), rel=0.3)


def test_estimates_from_some_of_the_clusters_stay_paired() -> None:
    whole = aggregate_estimate([1.0, 2.0, 3.0, 7.0], mean, np.arange(4), num_clusters=4)
    part = aggregate_estimate([1.0, 3.0, 7.0], mean, np.array([0, 2, 3]), num_clusters=4)
    assert part.influence[1] == 0 and part.num_clusters == 3
    assert whole.minus(part).value == pytest.approx(3.25 - 11 / 3)
    expected = mean_estimate(np.array([1.0, 3.0, 7.0]), np.array([0, 2, 3]), num_clusters=4)
    assert part.standard_error == pytest.approx(expected.standard_error)


def test_no_uncertainty_where_the_aggregate_is_not_defined_without_a_block() -> None:
    def first_only(items) -> float:
        if 1.0 not in items:
            raise ValueError("nothing to divide by")
        return 2.0

    assert aggregate_estimate([1.0, 2.0, 3.0], first_only).influence is None
    assert aggregate_estimate([4.0], mean).influence is None
    with pytest.raises(ValueError, match="empty"):
        aggregate_estimate([], mean)
