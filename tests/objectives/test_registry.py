"""Options by name are what they have to be, or are refused by name."""

from dataclasses import fields

import pytest

from hf_unlearn.objectives import OBJECTIVES, get_objective


@pytest.mark.parametrize("value", ["0.5", None, True, float("nan"), [1.0]])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, field.name)
        for name, kind in OBJECTIVES.items()
        for field in fields(kind)
        if field.init and field.type is float
    ],
)
def test_an_option_that_is_no_number_is_refused_by_name(name: str, option: str, value: object):
    with pytest.raises(
        (TypeError, ValueError), match=f"option '{option}' of objective '{name}' must be (a number|finite), got"
    ):
        get_objective(name, {option: value})


def test_whole_numbers_and_switches_too():
    with pytest.raises(TypeError, match="option 'layer' of objective 'rmu' must be a whole number"):
        get_objective("rmu", {"layer": 1.5})
    with pytest.raises(TypeError, match="option 'adaptive' of objective 'rmu' must be True or False"):
        get_objective("rmu", {"adaptive": "no"})
    assert get_objective("rmu", {"layer": None, "adaptive": False}).layer is None
