from pathlib import Path

import numpy as np
import pytest

from hf_unlearn._arguments import (
    above_zero,
    folder_path,
    given,
    one_of,
    open_share,
    real_number,
    share,
    switch,
    text,
    texts,
    whole_number,
    whole_numbers,
)


@pytest.mark.parametrize(
    ("check", "value", "plain"),
    [
        (lambda v: whole_number("n", v, minimum=0), np.int64(3), 3),
        (lambda v: real_number("x", v), np.float32(0.5), 0.5),
        (lambda v: open_share("c", v), 0.95, 0.95),
        (lambda v: switch("s", v), np.bool_(True), True),
        (lambda v: one_of("space", v, ("auto", "gram")), "gram", "gram"),
        (lambda v: whole_numbers("layers", v), np.array([1, 2]), (1, 2)),
        (lambda v: switch("s", v), np.bool_(False), False),
        (lambda v: above_zero("w", v), 2, 2.0),
        (lambda v: share("s", v), 1, 1.0),
        (lambda v: text("column", v), "person_id", "person_id"),
        (lambda v: texts("metrics", v), ["fade", "cka"], ("fade", "cka")),
        (lambda v: folder_path("output_dir", v), "out", Path("out")),
    ],
)
def test_good_values_come_back_plain(check, value, plain):
    found = check(value)
    assert found == plain and type(found) is type(plain)


@pytest.mark.parametrize(
    ("check", "value", "error", "message"),
    [
        (whole_number, 1.5, TypeError, r"n must be a whole number, got 1.5 \(float\)"),
        (whole_number, True, TypeError, "whole number, got True"),
        (whole_number, "3", TypeError, "whole number, got '3'"),
        (lambda n, v: whole_number(n, v, minimum=1), 0, ValueError, "n must be at least 1, got 0"),
        (real_number, "1e-5", TypeError, "n must be a number"),
        (real_number, float("nan"), ValueError, "n must be finite"),
        (open_share, 1, ValueError, "between 0 and 1, got 1.0"),
        (open_share, None, TypeError, "n must be a number, got None"),
        (switch, "no", TypeError, "n must be True or False, got 'no'"),
        (switch, 1, TypeError, "n must be True or False, got 1"),
        (
            lambda n, v: one_of(n, v, ("auto", "gram")),
            "Gram",
            ValueError,
            "unknown n 'Gram'; choose one of auto, gram",
        ),
        (lambda n, v: one_of(n, v, ("auto", "gram")), ["auto"], ValueError, "unknown n"),
        (whole_numbers, [1.5], TypeError, "each of n must be a whole number, got 1.5"),
        (whole_numbers, 2, TypeError, "n must be a list of whole numbers, got 2"),
        (whole_numbers, "12", TypeError, "n must be a list of whole numbers"),
        (whole_numbers, [], ValueError, "n must name at least one"),
        (above_zero, 0, ValueError, "n must be above 0, got 0"),
        (above_zero, "1", TypeError, "n must be a number"),
        (share, 1.5, ValueError, "n must be above 0 and at most 1, got 1.5"),
        (share, 0.0, ValueError, "n must be above 0"),
        (text, 7, TypeError, "n must be a text, got 7"),
        (text, "", ValueError, "n must not be empty"),
        (texts, "fade", TypeError, "n must be a list of texts, got 'fade'"),
        (texts, 3, TypeError, "n must be a list of texts, got 3"),
        (texts, [], ValueError, "n must name at least one"),
        (texts, ["a", 1], TypeError, "each of n must be a text, got 1"),
        (texts, ["a", "a"], ValueError, "n names 'a' twice"),
        (folder_path, "", ValueError, "n must be the path of a folder, got an empty text"),
        (folder_path, 7, TypeError, "n must be the path of a folder, got 7"),
        (
            lambda n, v: given(n, v, "the rows that had to go"),
            None,
            TypeError,
            "n must be given: the rows that had to go",
        ),
    ],
)
def test_bad_values_are_refused_by_name(check, value, error, message):
    with pytest.raises(error, match=message):
        check("n", value)
