"""Memorization of given answers against brute force, and what the common implementation makes of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import exact_memorization, extraction_strength


answers = st.lists(st.booleans(), min_size=1, max_size=12)


@given(answers)
def test_extraction_strength_is_the_longest_suffix_that_comes_by_itself(correct: list[bool]) -> None:
    """The first k with everything from k on right, k = length included: 1 − k / length."""
    first = next(k for k in range(len(correct) + 1) if all(correct[k:]))
    assert extraction_strength(correct) == pytest.approx(1 - first / len(correct), abs=1e-12)
    assert exact_memorization(correct) == sum(correct) / len(correct)


@given(answers)
def test_compatible_is_what_the_common_implementation_gives(correct: list[bool]) -> None:
    """It drops the last token, and looks for k below the length only: a wrong end counts as one right token."""
    kept = correct[:-1]
    if not kept:
        assert extraction_strength(correct, compatible=True) == 0.0
        assert np.isnan(exact_memorization(correct, compatible=True))
        return
    first = next((k for k in range(len(kept)) if all(kept[k:])), len(kept) - 1)
    assert extraction_strength(correct, compatible=True) == pytest.approx(1 - first / len(kept), abs=1e-12)
    assert exact_memorization(correct, compatible=True) == pytest.approx(sum(kept) / len(kept), abs=1e-12)


def test_a_model_that_is_never_right_scores_0() -> None:
    """The floor of the common implementation is 1/length: of five tokens four are kept, 1/4."""
    assert extraction_strength([False] * 5) == 0.0 and extraction_strength([False] * 5, compatible=True) == 0.25
    assert np.isnan(extraction_strength([]))
