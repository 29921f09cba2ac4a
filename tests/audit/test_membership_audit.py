"""Membership metrics in an audit: trained models of the pocket benchmark under every attack, and models without gradients."""

from typing import Any

import numpy as np
import pytest
import small_audits
import torch

from hf_unlearn.audit import METRICS, audit
from hf_unlearn.data import load_pocket


MEMBERSHIP = [name for name, metric in METRICS.items() if metric.from_settings({}).spec.family == "membership"]
AREAS = [name for name in MEMBERSHIP if name != "privleak"]


class Silent(torch.nn.Module):
    """An output layer through which no gradient leads, as of a quantized model."""

    def __init__(self, head: torch.nn.Linear):
        super().__init__()
        self.register_buffer("weight", head.weight.detach())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states.detach() @ self.weight.T


@pytest.fixture(scope="module")
def pocket_reports() -> dict[bool, Any]:
    """The original against the retrained model, by `compatible`."""
    pocket = load_pocket("nano")
    return {
        compatible: audit(
            pocket.original(),
            reference=pocket.reference(),
            twin=pocket.twin(),
            processing_class=pocket.tokenizer,
            forget=pocket.forget_request,
            holdout=pocket.holdout,
            metrics=MEMBERSHIP,
            compatible=compatible,
            progress=False,
        )
        for compatible in (False, True)
    }


@pytest.mark.parametrize("compatible", [False, True])
def test_a_model_that_memorised_is_told_under_every_attack(pocket_reports: dict[bool, Any], compatible: bool):
    """The original learnt the forget rows by heart; the retrained model and its twin never saw them."""
    report = pocket_reports[compatible]
    assert set(AREAS) < {key.split("/")[0] for key in report.metrics if "/" in key}
    for name in AREAS:
        result = report.metrics[f"{name}/forget"]
        assert result.value > 0.8, name
        if name == "membership_reference":
            assert result.ideal == 0.5 and abs(result.floor - 0.5) < 0.25
        else:
            assert result.others["reference"] == result.ideal and abs(result.ideal - 0.5) < 0.25
    leak = report.metrics["privleak/forget"]
    assert leak.value < -90 and abs(leak.floor) < 25
    assert any("18 holdout texts are too few to know 1 %" in note for note in report.notes)
    assert len(report.notes) == len(set(report.notes))


def test_standard_are_the_two_that_cost_nothing_more():
    standard = {name for name in MEMBERSHIP if METRICS[name].from_settings({}).spec.standard}
    assert standard == {"membership_loss", "membership_min_k_plus_plus"}


def test_a_model_without_gradients_has_no_gradient_norm_and_the_rest_stands():
    arguments = small_audits.arguments()
    arguments["candidate"].lm_head = Silent(arguments["candidate"].lm_head)
    candidate = arguments.pop("candidate")
    report = audit(candidate, metrics=["membership_loss", "membership_gradient_norm"], **arguments)
    assert "membership_loss/forget" in report.metrics and "membership_gradient_norm/forget" not in report.metrics
    said = " ".join(report.notes)
    assert "The candidate has no gradients" in said and "in floating point" in said


def test_without_a_holdout_set_the_reason_is_said_where_it_was_asked_for():
    arguments = small_audits.arguments(holdout=None)
    candidate = arguments.pop("candidate")
    report = audit(candidate, metrics=["membership_loss", "membership_gradient_norm", "probability"], **arguments)
    assert not any(key.startswith("membership") for key in report.metrics)
    assert any("membership_loss" in note and "it needs a holdout set" in note for note in report.notes)


@pytest.mark.parametrize("people", [None, 4])
def test_people_and_models_of_the_world(people: int | None):
    arguments = small_audits.arguments(
        "gpt2",
        forget=small_audits.token_rows(1, 8, people),
        holdout=small_audits.token_rows(4, 8, people),
    )
    candidate = arguments.pop("candidate")
    report = audit(candidate, metrics=MEMBERSHIP, **arguments)
    for name in AREAS:
        result = report.metrics[f"{name}/forget"]
        assert 0 <= result.value <= 1 and result.n == 16
        low, high = result.confidence_interval
        assert 0 <= low <= result.value <= high <= 1
    assert np.isfinite(report.metrics["privleak/forget"].value)
