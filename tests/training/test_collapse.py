"""What is called a collapse, and by which name the objective is called then."""

import logging
import math
from pathlib import Path

import pytest
import torch
from runs import trainer_with_callback

from hf_unlearn.training._collapse import Collapse


def has_come(collapse: Collapse, probabilities: list[float]) -> bool:
    return collapse.has_come(float(collapse.counted(torch.tensor(probabilities).log()).mean()), step=3)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.9, 0.3], False),
        ([0.4, 0.4, 1e-6, 1e-6], False),
        ([0.03] * 4, False),
        ([0.02] * 4, True),
        ([1e-9] * 4, True),
    ],
)
def test_a_classifier_has_collapsed_below_a_tenth_of_guessing(probabilities: list[float], expected: bool):
    """Of four classes: .025. Two rows that are as good as gone pulled the mean log-probability far below that."""
    assert has_come(Collapse("npo", 4, is_classification=True), probabilities) is expected


@pytest.mark.parametrize(("share", "expected"), [(1.9, False), (2.1, True)])
def test_tokens_have_collapsed_at_twice_as_far_down_as_guessing(share: float, expected: bool):
    assert has_come(Collapse("npo", 100, is_classification=False), [math.exp(-share * math.log(100))]) is expected


def test_it_is_said_once_but_stays_true(caplog: pytest.LogCaptureFixture):
    collapse = Collapse("kl_min", 4, is_classification=True)
    assert has_come(collapse, [0.001]) and has_come(collapse, [0.001])
    assert caplog.text.count("kl_min is destroying the model") == 1
    assert not collapse.has_come(None, step=4)


@pytest.mark.parametrize("name", ["kl_min", "grad_diff", "grad_ascent"])
def test_the_objective_has_the_name_that_the_user_gave(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        trainer, _ = trainer_with_callback(
            tmp_path,
            options={"objective": name, "forget_weight": 10.0, "stop_on_collapse": True},
            max_steps=40,
            learning_rate=0.1,
        )
        trainer.train()
    assert f"{name} is destroying the model" in caplog.text
