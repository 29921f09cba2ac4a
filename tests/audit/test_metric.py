"""Means over the examples that have a value."""

from types import SimpleNamespace

import numpy as np
import pytest

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit._metric import mean_of
from hf_unlearn.functional import Bootstrap


def test_roles_with_gaps_in_different_places_are_paired_by_cluster():
    """Two roles that agree wherever both have a value, each with one gap: the difference is that of the two prompts only one has."""
    rows = SimpleNamespace(clusters=np.array([0, 0, 1, 2, 3, 4, 4]))
    values = np.array([1.0, 2.0, 8.0, 3.0, 5.0, 1.0, 9.0])
    one, other = values.copy(), values.copy()
    one[2], other[4] = np.nan, np.nan
    difference = mean_of(one, rows).minus(mean_of(other, rows))
    assert difference.value == pytest.approx((21 - 24) / 6)
    assert difference.influence.shape == (5,) and difference.num_clusters == 4
    where = np.abs(difference.influence) > 1
    assert where.tolist() == [False, True, False, True, False]
    assert Bootstrap().interval(mean_of(values, rows)) is not None


def test_no_value_at_all():
    with pytest.raises(Undefined, match="no example has a value"):
        mean_of(np.full(3, np.nan), SimpleNamespace(clusters=np.arange(3)))
