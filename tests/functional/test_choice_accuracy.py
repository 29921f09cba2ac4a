"""Accuracy among choices: ties, impossible choices, and what the harness makes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import choice_accuracy, choice_probability


@given(st.lists(st.integers(-3, 0), min_size=2, max_size=6), st.data())
def test_ties_share(values: list[int], data: st.DataObject) -> None:
    """Over all choices the shares sum to 1, whichever was right: nothing is gained by finding all alike."""
    shares = [choice_accuracy(values, right) for right in range(len(values))]
    assert sum(shares) == pytest.approx(1.0) and min(shares) >= 0
    right = data.draw(st.integers(0, len(values) - 1))
    assert choice_accuracy(values, right, compatible=True) == (int(np.argmax(values)) == right)
    wanted = np.exp(values[right]) / np.exp(values).sum()
    assert choice_probability(values, right) == pytest.approx(wanted)


def test_a_model_that_finds_all_alike_scores_as_guessing_does() -> None:
    """A destroyed model: all −∞. In the harness it says A, and is right wherever A is."""
    nothing = [-np.inf] * 4
    assert choice_accuracy(nothing, 0) == 0.25 and choice_accuracy(nothing, 0, compatible=True) == 1.0
    assert np.isnan(choice_probability(nothing, 0)) and choice_probability([-np.inf, -1.0], 1) == 1.0


def test_what_cannot_be_is_refused() -> None:
    for function in (choice_accuracy, choice_probability):
        with pytest.raises(ValueError, match="no choice 2 among 2"):
            function([-1.0, -2.0], 2)
        with pytest.raises(ValueError, match="NaN"):
            function([-1.0, float("nan")], 0)
