"""What a search may choose: the defaults are those of `unlearn`, and what is drawn is what `unlearn` takes."""

import pytest

from hf_unlearn.config import UnlearnConfig, options_of
from hf_unlearn.objectives import OBJECTIVES, get_objective, get_retain_term
from hf_unlearn.objectives._registry import COMPOSITIONS
from hf_unlearn.tuning._space import Space, chosen_of, searched_options


class Corner:
    """Draws the lowest or the highest of everything."""

    def __init__(self, place: int, objective: str):
        self.place, self.objective = place, objective
        self.ranges: dict[str, tuple] = {}

    def suggest_float(self, name, low, high, *, log=False):
        assert low < high and log
        self.ranges[name] = (low, high)
        return (low, high)[self.place]

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        self.ranges[name] = tuple(choices)
        return self.objective if name == "objective" else choices[self.place]


NAMES = [*OBJECTIVES, *COMPOSITIONS]


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_objective_and_lie_in_the_range(name: str):
    space = Space(("npo", name), ("nll", "kl"), 1e-3, 80)
    default = next(each for each in reversed(space.defaults()) if each["objective"] == name)
    plain = get_objective(name)
    for option, value in chosen_of(default).get("objective_options", {}).items():
        assert getattr(plain, option) == value
    assert (default["learning_rate"], default["forget_weight"], default["max_steps"]) == (1e-3, 1.0, 80)
    corner = Corner(0, name)
    space.draw(corner)
    assert set(corner.ranges) == set(default)
    for parameter, found in corner.ranges.items():
        among = (
            default[parameter] in found if isinstance(found[0], str) else found[0] <= default[parameter] <= found[1]
        )
        assert among, parameter


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", [0, 1])
def test_every_corner_of_the_space_is_a_config_and_an_objective(name: str, place: int):
    chosen = Space(("npo", name), ("nll", "kl"), 1e-3, 1 if place else 80).draw(Corner(place, name)) if not place else Space(
        ("npo", name), ("nll", "kl"), 1e-3, 80
    ).draw(Corner(place, name))  # fmt: skip
    config = UnlearnConfig(**chosen)
    assert get_objective(config.objective, config.objective_options).name
    assert set(chosen) <= {each.name for each in options_of(UnlearnConfig)}
    own = name in COMPOSITIONS or name == "counterfactual"
    assert ("retain_term" in chosen) is not own
    assert get_retain_term(config.retain_term, config.objective).name in ("nll", "kl")


def test_options_that_are_no_numbers_above_0_are_left_alone():
    assert searched_options("simnpo") == {"beta": 4.5}  # its delta is 0, from which no multiple leads away
    assert searched_options("grad_diff") == searched_options("grad_ascent") == {}
    assert not {"cache_gib", "max_left_out", "top_k"} & set(searched_options("counterfactual"))
    assert "seed" not in searched_options("rmu") and "layer" not in searched_options("rmu")


def test_what_tells_one_space_from_another_is_in_its_description():
    one = Space(("npo",), ("nll",), 1e-3, 80)
    others = [Space(("simnpo",), ("nll",), 1e-3, 80), Space(("npo",), ("kl",), 1e-3, 80), Space(("npo",), ("nll",), 1e-4, 80), Space(("npo",), ("nll",), 1e-3, 81)]  # fmt: skip
    assert all(one.described() != other.described() for other in others)
