"""Membership metrics in an audit: trained models of the pocket benchmark under every attack, and models without gradients."""

import itertools
from typing import Any

import numpy as np
import pytest
import small_audits
import torch
from datasets import Dataset
from sklearn.metrics import roc_auc_score
from toys import markov_lm, word_tokenizer

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


def scores_on_a_chain(model: torch.nn.Module, reference: torch.nn.Module, tokens: list[int]) -> dict[str, float]:
    """Of the answer tokens[2:] to the prompt tokens[:2], from the matrices of transitions."""
    log_p, other = (m.transition_logits.detach().double().log_softmax(-1).numpy() for m in (model, reference))
    steps = list(itertools.pairwise(tokens[1:]))
    own = np.array([log_p[step] for step in steps])
    mean = np.array([np.exp(log_p[state]) @ log_p[state] for state, _ in steps])
    std = np.array([np.exp(log_p[state]) @ (log_p[state] - log_p[state].mean()) ** 2 for state, _ in steps])
    std = np.sqrt(
        std - np.array([np.exp(log_p[state]) @ (log_p[state] - log_p[state].mean()) for state, _ in steps]) ** 2
    )
    fifth = max(1, len(own) // 5)
    return {
        "membership_loss": own.mean(),
        "membership_min_k": np.sort(own)[:fifth].mean(),
        "membership_min_k_plus_plus": np.sort((own - mean) / std)[:fifth].mean(),
        "membership_reference": own.mean() - np.mean([other[step] for step in steps]),
    }


def test_areas_on_a_chain_are_known_exactly():
    """Through the real reading: AUCs of scores that follow from the matrices; answers of one to twelve tokens."""
    candidate, reference = markov_lm(1), markov_lm(2)
    generator = np.random.default_rng(0)
    sides = [
        [[3 + at % 3, 3 + shift, *generator.integers(1, 8, 1 + at % 12).tolist()] for at in range(14)]
        for shift in (0, 1)
    ]
    rows = [
        Dataset.from_list([{"input_ids": tokens, "labels": [-100, -100, *tokens[2:]]} for tokens in side])
        for side in sides
    ]
    report = audit(
        candidate,
        reference=reference,
        processing_class=word_tokenizer(*"abcdef"),
        forget=rows[0],
        holdout=rows[1],
        metrics=AREAS,
        allow_overlap=True,
        progress=False,
    )
    exact = [[scores_on_a_chain(candidate, reference, tokens) for tokens in side] for side in sides]
    for name in exact[0][0]:
        expected = roc_auc_score([1] * 14 + [0] * 14, [scores[name] for side in exact for scores in side])
        assert report.metrics[f"{name}/forget"].value == pytest.approx(expected, abs=1e-12)


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
