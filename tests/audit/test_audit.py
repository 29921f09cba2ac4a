"""The audit on the pocket benchmark: what it finds, what it refuses, and that nothing is lost or leaks."""

import copy
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import world
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from small_audits import by_prompt
from toys import tiny_llama
from transformers import LlamaForCausalLM

import hf_unlearn._files
from hf_unlearn.audit import AuditReport, EvidenceStore, MetricResult, Provenance, ReportNotSavedError, audit, verdict
from hf_unlearn.data import load_pocket, tokenize_examples


@pytest.fixture(scope="module")
def pocket():
    return load_pocket("nano")


@pytest.fixture(scope="module")
def models(pocket) -> dict:
    return {"reference": pocket.reference(), "original": pocket.original(), "twin": pocket.twin()}


@pytest.fixture
def options(pocket, models) -> dict:
    return {
        **models,
        "processing_class": pocket.tokenizer,
        "forget": pocket.forget,
        "retain": pocket.retain,
        "num_samples": 2,
        "max_examples": 6,
        "progress": False,
    }


def test_an_original_is_found_where_it_started(options: dict, pocket, tmp_path: Path):
    report = audit(pocket.original(), **options, holdout=pocket.holdout, output_dir=tmp_path)
    fade = report.metrics["fade"]
    assert fade.floor < fade.start / 2
    assert fade.relative == 1.0  # the same weights under the same noise
    assert fade.value == fade.start
    assert report.metrics["probability/forget"].value > report.metrics["probability/forget"].others["reference"] + 0.2
    assert report.metrics["probability/retain"].value > 0.8
    assert set(report.metrics) >= {
        "fade/forget",
        "fade/retain",
        "probability/forget",
        "probability/retain",
        "probability/holdout",
    }
    assert AuditReport.load(tmp_path) == report
    assert (tmp_path / "fade.png").read_bytes().startswith(b"\x89PNG")
    assert report.provenance.data["retain"]["rows"] == 6
    assert report.provenance.data["retain"]["of"] == len(pocket.retain)
    assert any("Of 54 retain examples 6 were used" in note for note in report.notes)


def test_a_twin_cannot_be_told_from_retraining(options: dict, models: dict, pocket):
    """One that is another number further away by rounding only, since one model in two roles is no comparison."""
    other = copy.deepcopy(models["twin"])
    with torch.no_grad():
        other.model.norm.weight.mul_(1 + 1e-6)
    report = audit(other, **{**options, "forget": by_prompt(pocket.forget), "max_examples": 12})
    fade = report.metrics["fade"]
    assert fade.relative == pytest.approx(0, abs=1e-3) and verdict(fade).kind == "as retrained"


def test_one_model_in_two_roles_is_refused_before_it_is_sampled_from(options: dict, models: dict, tmp_path: Path):
    """As one object, which a merged adapter leaves behind, and as a copy: a distance of 0 that nobody may read as forgetting."""
    chosen = {name: value for name, value in options.items() if name not in ("original", "retain")}
    models["reference"].save_pretrained(tmp_path)
    for candidate in (models["reference"], tmp_path):
        with pytest.raises(ValueError, match=r"reference and candidate are equal.*compares a model with itself"):
            audit(candidate, **{**chosen, "num_samples": 1, "max_examples": 2})


def test_probability_is_the_geometric_mean_of_token_probabilities(options: dict, pocket, models: dict):
    """Recomputed by hand with the model's own loss, which is the mean NLL of the labelled tokens."""
    report = audit(models["original"], **{**options, "max_examples": 1000, "num_samples": 1})
    values = []
    for row in tokenize_examples(pocket.forget, pocket.tokenizer):
        with torch.no_grad():
            loss = models["original"](
                input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])
            ).loss
        values.append(float(torch.exp(-loss)))
    assert report.metrics["probability/forget"].value == pytest.approx(np.mean(values), rel=1e-4)


def test_an_interrupted_audit_resumes(options: dict, models: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is stopped when the twin's answers are read; the second run computes what is missing, and nothing else."""
    real, computed = EvidenceStore.table, []

    def watched(stop: str | None, store, label, key, count, compute, **settings):
        def noted(items):
            if label == stop:
                raise KeyboardInterrupt
            computed.append(label)
            return compute(items)

        return real(store, label, key, count, noted, **settings)

    monkeypatch.setattr(
        EvidenceStore, "table", lambda *given, **settings: watched("answers-forget-twin", *given, **settings)
    )
    with pytest.raises(KeyboardInterrupt):
        audit(models["original"], **options, output_dir=tmp_path)
    first, computed[:] = set(computed), []
    assert {"completions-forget-candidate", "samples-forget-candidate"} <= first
    assert not list(tmp_path.glob("report.json"))
    monkeypatch.setattr(EvidenceStore, "table", lambda *given, **settings: watched(None, *given, **settings))
    resumed = audit(models["original"], **options, output_dir=tmp_path)
    assert "answers-forget-twin" in computed and not first & set(computed)
    monkeypatch.setattr(EvidenceStore, "table", real)
    assert resumed.metrics == audit(models["original"], **options).metrics


def test_the_report_holds_no_text_of_the_data(options: dict, pocket, models: dict, tmp_path: Path):
    canary = "Zanzibarrow"
    rows = [
        {**row, "question": f"{canary} {row['question']}", "answer": f"{row['answer']} {canary}"}
        for row in pocket.forget
    ]
    audit(models["original"], **{**options, "forget": Dataset.from_list(rows), "num_samples": 1}, output_dir=tmp_path)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"report.json"} < {file.name for file in files} and any("evidence" in file.parts for file in files)
    for file in files:
        assert canary.encode() not in file.read_bytes(), file


def test_local_folders_of_models_are_not_told(options: dict, models: dict, tmp_path: Path):
    path = tmp_path / "secret-user" / "model"
    models["original"].save_pretrained(path)
    report = audit(str(path), **options)
    assert report.provenance.models["candidate"]["name"] == "model"
    assert "secret-user" not in report.to_json()
    assert (
        report.provenance.models["candidate"]["weights_sha256"]
        == report.provenance.models["original"]["weights_sha256"]
    )


def test_a_report_that_cannot_be_saved_is_not_lost(
    options: dict, models: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AuditReport, "save", full)
    with pytest.raises(ReportNotSavedError, match="No space left on device") as caught:
        audit(models["original"], **options, output_dir=tmp_path)
    monkeypatch.undo()
    assert caught.value.report.save(tmp_path / "elsewhere").is_file()


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hf_unlearn._files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        hf_unlearn._files.write_atomically(tmp_path / "report.json", lambda path: path.write_text("half"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "full"])
def test_an_output_folder_that_cannot_be_written_is_refused_first(
    kind: str, options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Root may write everywhere, so a read-only folder is played by a file in its place and by a disk without room."""
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("not a folder")
    else:

        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(hf_unlearn._files.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write to .*choose another output_dir or make room"):
        audit("/no/model/is/opened", **options, output_dir=target)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_folder_is_refused_first(options: dict, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot write to"):
        audit("/no/model/is/opened", **options, output_dir=tmp_path)


class Untouchable(LlamaForCausalLM):
    """A model that must not be run."""

    def forward(self, *args, **named):
        raise AssertionError("a model ran")


@pytest.fixture
def untouchable(pocket, models) -> dict:
    """The models as they are, but running one fails the test."""
    found = {}
    for role, model in {"candidate": models["original"], **models}.items():
        found[role] = Untouchable(model.config).eval()
        found[role].load_state_dict(model.state_dict())
    return found


def test_bad_input_is_refused_before_a_model_runs(options: dict, untouchable: dict, pocket):
    with pytest.raises(AssertionError, match="a model ran"):
        audit(**{**options, **untouchable})
    other = tiny_llama(vocab_size=77)
    cases = [
        ({"retain": pocket.forget}, r"forget rows are also in retain .*allow_overlap=True"),
        ({"holdout": pocket.forget}, "are also in holdout"),
        ({"forget": pocket.forget.select([])}, "no rows|empty"),
        ({"forget": pocket.forget.remove_columns(["answer", "question"])}, "columns"),
        ({"reference": other}, "do not share a vocabulary"),
        ({"reference": other, "original": None, "twin": None, "candidate": other}, "tokenizer has 1000 tokens but"),
    ]
    for change, message in cases:
        with pytest.raises(ValueError, match=message):
            audit(**{**options, **untouchable, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimator": "exact"}, "unknown estimator"),
        ({"num_samples": 0}, "num_samples must be at least 1"),
        ({"num_samples": 2.0}, "num_samples must be a whole number, got 2.0"),
        ({"max_examples": 0}, "max_examples must be at least 1"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ({"num_resamples": 0}, "num_resamples must be at least 1"),
        ({"confidence": 95}, "confidence must lie between 0 and 1"),
        ({"confidence": "0.95"}, "confidence must be a number"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"layers": [1.5]}, "each of layers must be a whole number, got 1.5"),
        ({"layers": []}, "layers must name at least one"),
        ({"space": "procrustes"}, "unknown space 'procrustes'"),
        ({"pooling": "all_tokens"}, "unknown pooling 'all_tokens'; choose one of answer_mean, last_token"),
        ({"allow_overlap": "no"}, "allow_overlap must be True or False, got 'no'"),
        ({"output_dir": ""}, "output_dir must be the path of a folder"),
        ({"forget": None}, "forget must be given"),
        ({"candidate": None}, "candidate must be given"),
        ({"reference": None, "original": None}, "needs a model to compare with"),
        ({"candidate": torch.nn.Linear(2, 2)}, "expected a transformers or PEFT model"),
        ({"candidate": world.build("bert")}, "no causal language model"),
        ({"processing_class": world.build("llama")}, "processing_class must be a tokenizer"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_wrong_arguments_are_refused_before_anything_is_opened(change: dict, message: str):
    """The paths lead nowhere, which nobody may notice."""
    roles = dict.fromkeys(("candidate", "reference", "original", "twin"), "/no/such/model")
    with pytest.raises((TypeError, ValueError), match=message):
        audit(**{**roles, "forget": "/no/such/rows.jsonl", **change})


def result(value: float, interval, floor=(None, None), start=None, **more) -> MetricResult:
    """A FADE result; `floor` is its value and its interval."""
    more = {"floor": floor[0], "floor_confidence_interval": floor[1], "start": start, **more}
    return MetricResult(value, interval, 10, "nats per sequence", "lower", name="fade", **more)


def report_of(*results: MetricResult) -> AuditReport:
    return AuditReport(
        {found.key: found for found in results}, Provenance({}, {}, {}, {}), (), "2026-01-01T00:00:00+00:00"
    )


finite = st.floats(-1e9, 1e9)
intervals = st.none() | st.tuples(finite, finite)


@given(finite, intervals, st.none() | finite, st.dictionaries(st.text(), finite), st.lists(st.text()))
def test_json_round_trip(value, interval, relative, details, notes):
    metric = MetricResult(value, interval, 3, "unit", "lower", relative=relative, details=details, name="fade")
    report = dataclasses.replace(report_of(metric), notes=tuple(notes))
    assert AuditReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 99}'])
def test_what_is_not_a_report_is_refused(text: str):
    with pytest.raises(ValueError, match=r"not an audit report|schema version 99"):
        AuditReport.from_json(text)


def test_results_must_be_finite_and_have_a_direction():
    with pytest.raises(ValueError, match="finite"):
        MetricResult(float("nan"), None, 1, "u", "lower")
    with pytest.raises(ValueError, match="direction"):
        MetricResult(1.0, None, 1, "u", "down")
    assert json.loads(report_of(result(1.0, (0.5, 1.5))).to_json())["metrics"]["fade/forget"][
        "confidence_interval"
    ] == [
        0.5,
        1.5,
    ]
