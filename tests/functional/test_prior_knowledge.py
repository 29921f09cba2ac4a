import numpy as np
import pytest
from scipy import stats

from hf_unlearn.functional import PriorKnowledge, prior_knowledge


def test_the_paired_interval_is_students():
    generator = np.random.default_rng(0)
    original, reference = generator.normal(-1, 0.5, 20), generator.normal(-2, 0.5, 20)
    found = prior_knowledge(original, reference, paired=True, confidence=0.9)
    expected = stats.ttest_rel(original, reference).confidence_interval(0.9)
    assert found.confidence_interval == pytest.approx((expected.low, expected.high))
    assert found.advantage == pytest.approx((original - reference).mean()) and found.n == 20 and found.clear


def test_the_unpaired_interval_is_welchs():
    generator = np.random.default_rng(1)
    forget, holdout = generator.normal(-1, 0.5, 12), generator.normal(-1.2, 2.0, 30)
    found = prior_knowledge(forget, holdout, paired=False)
    expected = stats.ttest_ind(forget, holdout, equal_var=False).confidence_interval(0.95)
    assert found.confidence_interval == pytest.approx((expected.low, expected.high))
    assert found.clear is False


def test_rows_of_one_cluster_count_once():
    """Five copies of each of four differences: the interval is that of the four."""
    differences = np.array([0.5, 1.0, 1.5, 2.5])
    copies, clusters = np.repeat(differences, 5), np.repeat(["a", "b", "c", "d"], 5)
    found = prior_knowledge(copies, np.zeros(20), paired=True, clusters=clusters)
    assert found == prior_knowledge(differences, np.zeros(4), paired=True)
    assert found.n == 4
    whole = prior_knowledge(copies, np.zeros(20), paired=False, clusters=clusters, baseline_clusters=np.arange(20))
    assert whole.n == 4 and whole.confidence_interval == pytest.approx(found.confidence_interval)


def test_a_tiny_advantage_is_none_however_sure():
    """0.01 nats per token on a thousand rows without noise is not knowledge; 0.06 is."""
    rows = np.random.default_rng(2).normal(-3, 1, 1000)
    assert prior_knowledge(rows + 0.01, rows, paired=True).confidence_interval[0] > 0
    assert prior_knowledge(rows + 0.01, rows, paired=True).clear is False
    assert prior_knowledge(rows + 0.06, rows, paired=True).clear is True


def test_one_row_cannot_tell():
    found = prior_knowledge(np.array([-0.1]), np.array([-5.0]), paired=True)
    assert found.confidence_interval is None and found.clear is None
    assert found.describe("x").endswith("more than x (n = 1)")


@pytest.mark.parametrize(
    ("original", "baseline", "more", "message"),
    [
        ([], [1.0], {}, "nothing to compare: 0 and 1"),
        ([1.0, 2.0], [1.0], {}, "must match: 2 of the original, 1 of the reference"),
        ([np.nan, 2.0], [1.0, 1.0], {}, "not all finite"),
        ([1.0, 2.0], [1.0, 1.0], {"clusters": np.array([1])}, "one for each of the 2 rows, got 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(original, baseline, more, message):
    with pytest.raises(ValueError, match=message):
        prior_knowledge(np.array(original), np.array(baseline), paired=True, **more)


def test_a_negative_advantage_is_not_clear():
    assert PriorKnowledge(-2.0, (-3.0, -1.0), 9).clear is False
