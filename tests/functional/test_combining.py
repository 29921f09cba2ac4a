"""Functions of estimates: known errors, one axis for independent sets, and values without uncertainty."""

import math

import numpy as np
import pytest
import scipy.stats

from hf_unlearn.functional import (
    Bootstrap,
    Estimate,
    auc_estimate,
    average,
    function_of,
    harmonic_mean,
    independent,
    mean_estimate,
)


def test_difference_of_independent_sets_has_welchs_error():
    generator = np.random.default_rng(0)
    forget, retain = generator.normal(3, 1, 12), generator.normal(2, 4, 40)
    one, other = independent(mean_estimate(forget), mean_estimate(retain))
    expected = math.sqrt(forget.var(ddof=1) / 12 + retain.var(ddof=1) / 40)
    assert one.minus(other).standard_error == pytest.approx(expected)
    assert one.standard_error == pytest.approx(scipy.stats.sem(forget))
    assert one.minus(other).num_clusters == 12
    low, high = Bootstrap().interval(one.minus(other))
    welch = scipy.stats.ttest_ind(forget, retain, equal_var=False).confidence_interval()
    assert (low, high) == pytest.approx(welch, abs=0.2)


def test_roles_on_the_joint_axis_stay_paired():
    """Candidate = twin + 1 on both sets: their asymmetries do not differ, and that is certain."""
    generator = np.random.default_rng(1)
    forget, retain = generator.normal(size=10), generator.normal(size=20)
    asymmetry = [
        one.minus(other)
        for by in (0.0, 1.0)
        for one, other in [independent(mean_estimate(forget + by), mean_estimate(retain + by))]
    ]
    assert Bootstrap().interval(asymmetry[1].minus(asymmetry[0])) == pytest.approx((0, 0))


def test_numerical_slopes_are_the_analytic_ones():
    generator = np.random.default_rng(2)
    x, y = generator.uniform(0.5, 1, 30), generator.uniform(0.1, 0.4, 30)
    estimates = [mean_estimate(x), mean_estimate(y)]
    found = function_of(estimates, lambda a, b: a / b)
    np.testing.assert_allclose(found.influence, estimates[0].over(estimates[1]).influence, rtol=1e-8)
    mean = function_of(estimates, lambda a, b: 2 / (1 / a + 1 / b), scale="logit")
    np.testing.assert_allclose(harmonic_mean(estimates).influence, mean.influence, rtol=1e-8)
    assert harmonic_mean(estimates).value == pytest.approx(scipy.stats.hmean([x.mean(), y.mean()]))


def test_harmonic_mean_at_zero():
    """2xy/(x + y) near x = 0 is 2x, whatever y is."""
    nothing, something = Estimate(0.0, np.array([-0.1, 0.1, 0.0])), Estimate(0.5, np.array([0.2, -0.1, -0.1]))
    found = harmonic_mean([nothing, something])
    assert found.value == 0 and found.influence.tolist() == [-0.2, 0.2, 0.0]
    with pytest.raises(ValueError, match="from 0 on"):
        harmonic_mean([Estimate(-0.1, None), something])


def test_average_over_layers():
    layers = [Estimate(0.2, np.array([0.1, -0.1]), "log"), Estimate(0.4, np.array([0.3, -0.3]), "log")]
    found = average(layers)
    assert (found.value, found.scale) == (pytest.approx(0.3), "log")
    assert found.influence == pytest.approx([0.2, -0.2])


def test_values_without_uncertainty_make_such_values():
    bare, other = Estimate(0.5, None), mean_estimate(np.arange(5.0))
    for made in (bare.minus(other), other.over(bare), average([bare, other]), function_of([other, bare], max)):
        assert made.influence is None and math.isnan(made.standard_error)
        assert Bootstrap().interval(made) is None


def test_different_sets_are_not_paired_by_mistake():
    with pytest.raises(ValueError, match=r"estimates over \[3, 5\] clusters cannot be paired"):
        mean_estimate(np.ones(5)).minus(mean_estimate(np.ones(3)))
    with pytest.raises(ValueError, match="no finite slopes"):
        function_of([Estimate(0.0, None)], lambda x: math.inf if x <= 0 else 1 / x)


def test_area_beside_a_mean_of_other_prompts():
    generator = np.random.default_rng(3)
    area = auc_estimate(generator.normal(1, 1, 15), generator.normal(0, 1, 25))
    kept = mean_estimate(generator.beta(8, 2, 10), scale="logit")
    joint = harmonic_mean(independent(area, kept))
    low, high = Bootstrap().interval(joint)
    assert 0 < low < joint.value < high < 1 and joint.influence.shape == (50,) and joint.num_clusters == 10
