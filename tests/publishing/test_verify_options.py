"""What a verifier takes over from a report: the options of an audit, checked like anybody's arguments."""

from dataclasses import replace
from typing import Any

import pytest

from hf_unlearn.audit import AuditReport, Provenance
from hf_unlearn.config import AuditConfig, options_of
from hf_unlearn.publishing._verify import _conditions, _harness, _metrics, _settings


def report(**settings: Any) -> AuditReport:
    return AuditReport({}, Provenance({}, {}, settings, {}), (), "2026-11-21T00:00:00+00:00")


CHOSEN = AuditConfig(
    metrics=["fade", "probability"], prompt_template="Q: {question}, please", num_samples=3, max_new_tokens=9, max_examples=7,
    estimator="sampled", layers=[3, 7], pooling="last_token", space="gram", cluster_column="person", confidence=0.9, num_resamples=50, seed=4,
    allow_overlap=True, harness_tasks=["mmlu", "arc_easy"], harness_limit=5,
)  # fmt: skip


def test_every_option_that_a_report_records_is_taken_over():
    taken = _settings(report(**CHOSEN.plain(), chat_template=True, max_width=512))
    assert AuditConfig(**taken) == CHOSEN
    assert set(taken) == {each.name for each in options_of(AuditConfig) if each.recorded}


def test_an_old_report_has_the_defaults_of_what_it_does_not_name():
    taken = _settings(report(num_samples=4, seed=1))
    assert AuditConfig(**taken) == replace(AuditConfig(), num_samples=4, seed=1)


def test_what_is_not_known_here_does_not_keep_the_rest_from_being_verified():
    asked = report(metrics="standard,fade,of_their_own", conditions="of_their_own")
    chosen, unknown = _metrics(asked, ())
    assert (
        list(chosen) == ["standard", "fade"]
        and list(unknown) == ["of_their_own"]
        and list(_conditions(asked, ())) == []
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 1025}, "asks for num_samples = 1025; more than 1024 is not done"),
        ({"max_new_tokens": 9000}, "max_new_tokens"),
        ({"max_examples": 10**6}, "max_examples"),
        ({"num_resamples": 10**6}, "num_resamples"),
        ({"num_samples": "8"}, "num_samples must be a whole number"),
        ({"num_samples": 8.5}, "num_samples must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"confidence": 2}, "confidence must lie between 0 and 1"),
        ({"layers": "1,x"}, "layers must be numbers separated by commas"),
        ({"estimator": "guess"}, "unknown estimator 'guess'"),
        ({"metrics": ""}, "metrics must name at least one"),
    ],
)
def test_options_that_no_audit_has_are_refused_before_anything_is_opened(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        _settings(report(**settings))


def test_harness_tasks_of_a_stranger_are_asked_only_where_the_verifier_names_them():
    assert _harness(("mmlu", "arc_easy"), ()) == () == _harness((), ())
    assert _harness(("mmlu", "arc_easy"), ["arc_easy", "mmlu"]) == ("mmlu", "arc_easy")
    for given in (["mmlu"], ["mmlu", "arc_easy", "gsm8k"]):
        with pytest.raises(ValueError, match="must be those of the report, mmlu, arc_easy; got mmlu"):
            _harness(("mmlu", "arc_easy"), given)
