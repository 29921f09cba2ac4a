"""Options of unlearning: what they refuse, and that the parts agree with each other."""

import pytest

from hf_unlearn.config import ForgetConfig, UnlearnConfig, options_of


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"forget_weight": 0}, ValueError, "forget_weight must be above 0, got 0"),
        ({"retain_weight": -1}, ValueError, "retain_weight must be at least 0"),
        ({"saliency": 2}, ValueError, "saliency must be above 0 and at most 1, got 2"),
        ({"saliency": "much"}, TypeError, "saliency must be a number"),
        ({"stop_on_collapse": "no"}, TypeError, "stop_on_collapse must be True or False"),
        ({"forget_batch_size": 0}, ValueError, "forget_batch_size must be at least 1"),
    ],
)
@pytest.mark.parametrize("config", [ForgetConfig, UnlearnConfig])
def test_what_cannot_be_is_refused(config: type, given: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        config(**given)


def test_options_of_the_forget_term_come_first_and_are_the_same():
    shared = options_of(ForgetConfig)
    assert options_of(UnlearnConfig)[: len(shared)] == shared


def test_objects_are_recorded_by_their_class():
    class Own:
        pass

    assert UnlearnConfig(objective=Own(), retain_term="kl").plain()["objective"] == "Own"
    assert UnlearnConfig(retain_weight=0).retain_weight == 0.0
