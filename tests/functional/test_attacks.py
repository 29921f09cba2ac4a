"""Members told from non-members: scikit-learn's curves, a brute-force DeLong, coverage of the interval of hits, and MUSE's PrivLeak by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from hf_unlearn.functional import (
    Bootstrap,
    Estimate,
    auc_estimate,
    membership_auc,
    privleak,
    privleak_estimate,
    tpr_at_fpr,
    tpr_interval,
)


def scikit_learns(members: np.ndarray, others: np.ndarray, fpr: float) -> tuple[float, float]:
    """Area, and the highest share of hits that the curve reaches up to this share of false alarms."""
    labels, scores = np.r_[np.ones(len(members)), np.zeros(len(others))], np.r_[members, others]
    alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(roc_auc_score(labels, scores)), float(hits[alarms <= fpr + 1e-12].max())


def brute_force_delong(members: np.ndarray, others: np.ndarray) -> float:
    """Standard error, pair by pair (DeLong et al. 1988, equations 4 to 6)."""

    def won(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    of_members = [sum(won(x, y) for y in others) / len(others) for x in members]
    of_others = [sum(won(x, y) for x in members) / len(members) for y in others]
    return math.sqrt(np.var(of_members, ddof=1) / len(members) + np.var(of_others, ddof=1) / len(others))


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(100, 320), st.sampled_from([2, 10, 10_000]))
def test_area_and_hits_are_scikit_learns(seed: int, count: int, others: int, levels: int):
    """With 2 levels nearly everything is a tie."""
    generator = np.random.default_rng(seed)
    members, non_members = generator.integers(0, levels, count) + 0.5, generator.integers(0, levels, others) * 1.0
    members[generator.random(count) < 0.5] -= 0.5  # half of them can tie
    found = membership_auc(members, non_members)
    area, hits = scikit_learns(members, non_members, 0.01)
    assert found["auc"] == pytest.approx(area) and found["tpr_at_1_percent_fpr"] == pytest.approx(hits)
    low, high = found["tpr_at_1_percent_fpr_interval"]
    assert 0 <= low <= hits <= high <= 1


def test_interval_of_the_area_is_delongs_studentised():
    """The value's standard error by brute force, and an interval near the one by the normal distribution on the logit."""
    generator = np.random.default_rng(3)
    members, others = generator.normal(0.8, 1, 80).round(1), generator.normal(0, 1, 60).round(1)
    found, estimate = membership_auc(members, others), auc_estimate(members, others)
    error = brute_force_delong(members, others)
    assert estimate.standard_error == pytest.approx(error, rel=1e-9)
    centre, half = math.log(found["auc"] / (1 - found["auc"])), 1.96 * error / (found["auc"] * (1 - found["auc"]))
    plain = [1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1)]
    assert found["confidence_interval"] == pytest.approx(plain, abs=0.02)


def test_people_count_once():
    """Ten copies of each row: the same area and interval where clusters say so, and no interval of hits, which needs independent rows."""
    generator = np.random.default_rng(4)
    members, others = generator.normal(1, 1, 30), generator.normal(0, 1, 40)
    once = membership_auc(members, others)
    tenfold = membership_auc(np.repeat(members, 10), np.repeat(others, 10), clusters=np.repeat(np.arange(70), 10))
    assert tenfold["auc"] == pytest.approx(once["auc"])
    assert tenfold["confidence_interval"] == pytest.approx(once["confidence_interval"])
    assert tenfold["tpr_at_1_percent_fpr"] is not None and tenfold["tpr_at_1_percent_fpr_interval"] is None


def test_the_same_texts_on_both_sides_are_not_told_apart():
    scores = np.random.default_rng(5).normal(size=50)
    found = membership_auc(scores, scores)
    assert found["auc"] == 0.5 and found["confidence_interval"][0] < 0.5 < found["confidence_interval"][1]
    same = membership_auc(np.full(20, -1.0), np.full(30, -1.0))
    assert same["auc"] == 0.5 and same["tpr_at_1_percent_fpr"] is None


def test_infinite_scores_have_their_place():
    found = membership_auc([-1.0, -math.inf], [-math.inf, -2.0])
    assert found["auc"] == pytest.approx((2 + 0.5 + 0) / 4)


def test_hits_need_a_hundred_non_members():
    members = np.arange(10.0)
    assert tpr_at_fpr(members, np.arange(99.0)) is None and tpr_interval(members, np.arange(99.0)) is None
    assert tpr_at_fpr([98.0, 97.0], np.arange(99.0)[::-1]) is None
    assert tpr_at_fpr([98.5, 97.0], np.arange(100.0)) == 0.5
    # ⌊0.01 · n⌋ for every n, though 0.01 · 2900 is 28.999999999999996 in floating point.
    for count in (100, 199, 200, 700, 2900, 5800):
        others = np.arange(float(count))
        assert tpr_at_fpr([count - 1 - count // 100 + 0.5], others) == 1.0
        assert tpr_at_fpr([count - 1 - count // 100 - 0.5], others) == 0.0


@pytest.mark.parametrize("others", [100, 600, 3000])
def test_interval_of_hits_holds(others: int):
    """Normal scores, members shifted by 1.5: 95 % intervals hold the true share in at least 93 % of 300 draws (binomially 1 in 300 of
    sound code would fail; it holds more than it says)."""
    generator, shift = np.random.default_rng(others), 1.5
    true = norm.sf(norm.isf(0.01) - shift)
    held = 0
    for _ in range(300):
        low, high = tpr_interval(generator.normal(shift, 1, 150), generator.normal(0, 1, others))
        held += low <= true <= high
    assert held >= 279
    assert (low == 0) == (others < 440)


def test_privleak_by_hand():
    """AUCs of the members 3/4 and 1/4: the attack's failures go from 3/4 to 1/4, that is by −66.7 %."""
    found = privleak([2.0, 4.0], [1.0, 3.0], reference_members=[1.0, 3.0], reference_non_members=[2.0, 4.0])
    assert (found["auc"], found["reference_auc"]) == (0.75, 0.25)
    assert found["privleak"] == pytest.approx(-200 / 3)
    assert found["confidence_interval"] is None


def test_privleak_is_muses():
    """MUSE's own way: holdout as members of an attack by −(mean of the lowest), AUC of that, change to the retrained model's."""
    generator = np.random.default_rng(6)
    forget, holdout, re_forget, re_holdout = (generator.normal(at, 1, 50) for at in (1.0, 0, 0.2, 0))

    def muses(own: np.ndarray, held: np.ndarray) -> float:
        return float(roc_auc_score(np.r_[np.zeros(50), np.ones(50)], -np.r_[-own, -held]))

    expected = (muses(forget, holdout) - muses(re_forget, re_holdout)) / muses(re_forget, re_holdout) * 100
    found = privleak(forget, holdout, reference_members=re_forget, reference_non_members=re_holdout)
    assert found["privleak"] == pytest.approx(expected) and expected < 0
    from_number = privleak(forget, holdout, reference_auc=1 - muses(re_forget, re_holdout))
    assert from_number["privleak"] == pytest.approx(expected)
    low, high = found["confidence_interval"]
    assert -100 <= low < expected < high
    known_exactly = from_number["confidence_interval"]
    assert known_exactly[1] - known_exactly[0] < high - low


def test_privleak_of_a_published_log():
    """A published open-unlearning row has Min-K AUC 0.968125 and PrivLeak −93.978748506, so a retrained AUC of 0.470625."""
    found = privleak_estimate(Estimate(0.968125, None), Estimate(0.470625, None))
    assert found.value == pytest.approx(-93.978748506, abs=1e-6)


def test_privleak_interval_is_the_jackknifes():
    """Standard error of the paired ratio, leaving out one text of both models at a time."""
    generator = np.random.default_rng(7)
    hard = generator.normal(0, 1, 120)
    mine, theirs = hard + generator.normal(0, 0.4, 120), hard + generator.normal(0, 0.4, 120)
    mine[:60] += 0.6

    def value(kept: np.ndarray) -> float:
        forget, holdout = kept[kept < 60], kept[kept >= 60]
        areas = [auc_estimate(scores[forget], scores[holdout]) for scores in (mine, theirs)]
        return privleak_estimate(*areas).value

    areas = [auc_estimate(scores[:60], scores[60:]) for scores in (mine, theirs)]
    without = np.array([value(np.delete(np.arange(120), at)) for at in range(120)])
    jackknife = math.sqrt(sum(59 * np.var(part) for part in (without[:60], without[60:])))
    assert privleak_estimate(*areas).standard_error == pytest.approx(jackknife, rel=0.05)


def test_privleak_where_nothing_varies_is_not_certain():
    """A memorised set is told apart in all 20 rows; that says little of the next: Clopper and Pearson's bound, over the retrained rate."""
    found = privleak(np.arange(20.0) + 30, np.arange(20.0), reference_auc=0.5)
    assert found["privleak"] == -100
    share = 1 - 0.025 ** (1 / 20)
    assert found["confidence_interval"] == pytest.approx((-100, 100 * (share / 0.5 - 1)))
    gone = privleak(np.arange(20.0), np.arange(20.0) + 30, reference_auc=0.5)
    assert gone["privleak"] == 100 and gone["confidence_interval"] == pytest.approx((100 * (1 - 2 * share), 100))


@pytest.mark.parametrize("shift", [0.0, 1.0, -1.0])
def test_privleak_interval_holds(shift: float):
    """95 % intervals hold the true value in at least 90 % of 200 draws of 60 and 60 texts (of sound code 1 in 500 would fail)."""
    generator = np.random.default_rng(8)
    true = 100 * (norm.cdf(0) - norm.cdf(shift / math.sqrt(2 * 1.25))) / (1 - norm.cdf(0))
    held = 0
    for draw in range(200):
        hard = generator.normal(0, 1, 120)
        mine, theirs = hard + generator.normal(0, 0.5, 120), hard + generator.normal(0, 0.5, 120)
        mine[:60] += shift
        found = privleak(
            mine[:60],
            mine[60:],
            reference_members=theirs[:60],
            reference_non_members=theirs[60:],
            bootstrap=Bootstrap(num_resamples=400, seed=draw % 4),
        )
        low, high = found["confidence_interval"]
        held += low <= true <= high
    assert held >= 180


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: membership_auc([], [1.0]), "scores of members"),
        (lambda: membership_auc([1.0], []), "scores of non-members"),
        (lambda: membership_auc([1.0, math.nan], [1.0]), "1 of 2 scores of members are NaN"),
        (lambda: membership_auc([1.0], [[1.0]]), r"one dimension, got an array of shape \(1, 1\)"),
        (lambda: membership_auc([1.0], [1.0], clusters=[0]), "each of the 2 rows"),
        (lambda: tpr_at_fpr([1.0], [1.0], 0.0), "between 0 and 1"),
        (lambda: privleak([1.0], [0.0]), "either reference_members"),
        (lambda: privleak([1.0], [0.0], reference_members=[1.0]), "either reference_members"),
        (lambda: privleak([1.0], [0.0], reference_members=[1.0], reference_auc=0.5), "either reference_members"),
        (lambda: privleak([1.0], [0.0], reference_auc=1.5), r"lies in \[0, 1\], got 1.5"),
        (lambda: privleak([1.0], [0.0], reference_auc=1.0), "divides by 1 − AUC"),
        (
            lambda: privleak([1.0], [0.0], reference_members=[1.0, 2.0], reference_non_members=[0.0]),
            "got 1 and 1 scores of the candidate, 2 and 1 of the reference",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused(call, words: str):
    with pytest.raises(ValueError, match=words):
        call()
