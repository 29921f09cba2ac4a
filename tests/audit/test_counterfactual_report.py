"""A whole audit of pocket without a retrained model: what it says, what it refuses to say, and that no name gets out."""

import logging
from typing import Any

import pytest
from datasets import Dataset

from hf_unlearn.audit import AuditReport, audit
from hf_unlearn.audit.domains import _counterfactual_tasks
from hf_unlearn.benchmarks import load_benchmark
from hf_unlearn.data import load_pocket
from hf_unlearn.publishing import Statement
from hf_unlearn.publishing._card import card_section


@pytest.fixture(scope="module")
def pocket():
    return load_pocket("nano")


def audited(pocket, forget: Dataset, **changes: Any) -> AuditReport:
    return audit(
        pocket.reference(), original=pocket.original(), forget=forget, retain=pocket.retain, processing_class=pocket.tokenizer,
        metrics=["probability", "counterfactual"], num_counterfactuals=2, max_examples=18, max_new_tokens=4, num_resamples=50,
        progress=False, **changes,
    )  # fmt: skip


def told(report: AuditReport, caplog: pytest.LogCaptureFixture) -> str:
    section = card_section(report, Statement(), "me/model")
    return "\n".join([report.to_json(), section, *(record.getMessage() for record in caplog.records)])


def test_no_name_gets_out_and_the_original_is_asked_about_unseen_ones(
    pocket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    real, substitutes = _counterfactual_tasks.load_counterfactuals, set[str]()

    def watched(split: Any, *given: Any, **options: Any) -> Any:
        found, notes = real(split, *given, **options)
        for one in found:
            own, other = (pocket.tokenizer.decode(ids).split() for ids in (split.prompts[one.example], one.prompt))
            substitutes.add(" ".join(word.strip("?.,'") for word in other if word not in own))
        return found, notes

    monkeypatch.setattr(_counterfactual_tasks, "load_counterfactuals", watched)
    with caplog.at_level(logging.INFO):
        report = audited(pocket, pocket.forget)
    (known,) = report.findings
    assert (known.kind, known.other) == ("known before", "stand-in") and known.interval[0] > 0.2
    result = report.metrics["counterfactual_fade"]
    assert result.floor_of == "stand-in" and result.floor < result.value < result.start
    assert report.provenance.settings["num_counterfactuals"] == 2
    secrets = {*pocket.forget["subject"], *pocket.forget["question"], *(name for name in substitutes if name)}
    assert len(secrets) > 40
    everything = told(report, caplog)
    assert not [secret for secret in secrets if secret in everything]
    assert "counterfactual" in everything and "another retraining is" not in " ".join(report.reading())


def test_a_kind_that_only_the_forget_set_has_gets_no_number(pocket, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        report = audited(pocket, pocket.forget_ood)
    assert {result.name for result in report.metrics.values()} == {"probability"}
    (why,) = [note for note in report.notes if "counterfactual_fade/forget" in note]
    assert "6 of 6 rows have no counterfactual question" in why and "in no retained row" in why
    everything = told(report, caplog)
    assert not [
        secret for secret in {*pocket.forget_ood["subject"], *pocket.forget_ood["kind"]} if f"'{secret}'" in everything
    ]
    (finding,) = report.findings
    assert finding.kind == "not checked"


def test_a_benchmark_without_its_reference(pocket):
    loaded = load_benchmark("pocket:nano")
    given = loaded.arguments(reference=None)
    assert "reference" not in given and "twin" not in given and given["benchmark"].endswith(" (without a reference)")
    options = {"num_counterfactuals": 2, "num_samples": 1, "max_new_tokens": 4, "num_resamples": 20, "progress": False}
    report = loaded.audit(pocket.reference(), reference=None, metrics=["probability", "fade"], **options)
    names = {result.name for result in report.metrics.values()}
    assert {"probability", "counterfactual_fade"} <= names and "fade" not in names
    assert any("FADE need a retrained model" in note for note in report.notes)
    with pytest.raises(ValueError, match=r"has published references|nobody has published"):
        loaded.arguments(reference=None, original=None)
