"""A published audit with further sets: role, metrics and template are taken from the report, data from the verifier, and what is lacking is said."""

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from loopback_hub import LoopbackHub
from typer.testing import CliRunner

import hf_unlearn.publishing._hub as ours
from hf_unlearn.audit import METRICS, AuditReport, AuditSet, BaseMetric, MetricSpec, Reading, Rows, audit
from hf_unlearn.benchmarks import load_benchmark
from hf_unlearn.cli import app
from hf_unlearn.data import Pocket, load_pocket
from hf_unlearn.functional import Bootstrap, Estimate
from hf_unlearn.inference import load_model
from hf_unlearn.publishing import publish, verify


REPO = "me/model"
CANARY = "CANARY {in} braces\nand lines"


class Across(BaseMetric):
    """The mean probability over all sets that stay."""

    spec = MetricSpec(
        name="across_probability",
        title="Probability over all sets that stay",
        unit="probability",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("retain",),
        needs=(Reading("answers"),),
        across=True,
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        values = [METRICS["probability"]()(rows.on(name), uncertainty).value for name in rows.sets()]
        return Estimate(float(np.mean(values)), None)


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def folder(pocket: Pocket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    pocket.original().save_pretrained(folder)
    pocket.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(pocket: Pocket) -> dict[str, Any]:
    shots = pocket.holdout.select(range(2)).map(lambda row: {"answer": f"{CANARY} {row['answer']}"})
    shots = shots.select_columns(["question", "answer"])
    return {
        "forget": pocket.forget,
        "retain": pocket.retain.select(range(6)),
        "sets": {
            "others": AuditSet(pocket.retain.select(range(6, 12)), metrics=["probability", "across_probability"]),
            "far": AuditSet(pocket.forget_ood, role="forget", metrics=["probability"], prompt_template="Q {question}", examples=shots),
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(pocket: Pocket, folder: Path, data: dict[str, Any]) -> AuditReport:
    return audit(
        str(folder), reference=pocket.reference(), processing_class=pocket.tokenizer, metrics=["probability", Across()], max_examples=6,
        progress=False, **data,
    )  # fmt: skip


def outcomes(checks: Any) -> dict[str, str]:
    return {check.name: check.outcome for check in checks}


def check(pocket: Pocket, there: dict[str, str], **given: Any) -> Any:
    return verify(REPO, reference=pocket.reference(), metrics=[Across()], progress=False, **given, **there)


def test_a_report_says_what_each_set_is_for(report: AuditReport):
    described = report.provenance.data
    assert described["others"]["role"] == "retain"
    assert described["others"]["metrics"] == "probability,across_probability"
    assert (described["far"]["role"], described["far"]["prompt_template"], described["far"]["examples"]) == (
        "forget",
        "Q {question}",
        2,
    )
    assert set(described["forget"]) == {"sha256", "rows", "of"}
    assert AuditReport.from_json(report.to_json()).provenance == report.provenance


def test_further_sets_are_measured_again(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict
):
    done = publish(report, REPO, weights=folder, **there)
    key = done.folder / "data_key.txt"
    # Of the verifier's own sets only data and examples count: role, metrics and template are the report's.
    mine = {"others": data["sets"]["others"].data, "far": AuditSet(pocket.forget_ood, examples=data["sets"]["far"].examples)}  # fmt: skip
    found = outcomes(check(pocket, there, **(data | {"sets": mine}), data_key=key))
    assert set(report.metrics) == {
        *("probability/forget", "probability/retain", "probability/others", "probability/far"),
        "across_probability/retain",
    }
    assert {name: outcome for name, outcome in found.items() if outcome != "reproduced"} == {}
    assert {"others data", "far data", *report.metrics} <= set(found)
    other = AuditSet(pocket.forget_ood, examples=pocket.holdout.select(range(2, 4)))
    found = outcomes(check(pocket, there, **(data | {"sets": mine | {"far": other}}), data_key=key))
    assert found["far data"] == found["probability/far"] == "not reproduced"


@pytest.mark.parametrize("lacking", ["others", "far", "examples"])
def test_without_a_set_its_results_are_not_checkable(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict, lacking: str
):
    publish(report, REPO, weights=folder, **there)
    sets = {name: found for name, found in data["sets"].items() if name != lacking}
    if lacking == "examples":
        sets["far"] = pocket.forget_ood
    checks = check(pocket, there, **(data | {"sets": sets}))
    found = outcomes(checks)
    place = "far" if lacking == "examples" else lacking
    assert found[f"probability/{place}"] == "not checkable"
    reasons = {check.name: check.reason for check in checks}
    expected = "the in-context examples of the far set" if lacking == "examples" else f"the {lacking} set"
    assert expected in reasons[f"probability/{place}"]
    # One value over several sets cannot be had from some of them; others can.
    across = "not checkable" if lacking == "others" else "reproduced"
    assert found["across_probability/retain"] == across and found["probability/retain"] == "reproduced"


def test_a_lie_about_a_further_set_is_seen(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, report: AuditReport, data: dict
):
    lied = dataclasses.replace(report.metrics["probability/others"], value=0.1, confidence_interval=None)
    forged = dataclasses.replace(report, metrics=type(report.metrics)({**report.metrics, "probability/others": lied}))
    publish(forged, REPO, weights=folder, **there)
    assert outcomes(check(pocket, there, **data))["probability/others"] == "not reproduced"
    strange = {**report.provenance.data, "others": {**report.provenance.data["others"], "role": "everything"}}
    provenance = dataclasses.replace(report.provenance, data=strange)
    publish(dataclasses.replace(report, provenance=provenance), REPO, weights=folder, **there)
    with pytest.raises(ValueError, match="role of a set is one of"):
        check(pocket, there, **data)


def test_examples_are_not_published(hub: LoopbackHub, there: dict, folder: Path, report: AuditReport, data: dict):
    publish(report, REPO, weights=folder, **there)
    everything = b"".join(hub.repository(REPO).files().values())
    assert b"Q {question}" in everything and b"CANARY" not in everything
    described = report.provenance.data
    for secret in (described["far"]["examples_sha256"], described["others"]["sha256"]):
        assert str(secret).encode() not in everything


def test_a_published_benchmark_is_verified_by_its_name(
    hub: LoopbackHub, there: dict, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The command takes all sets from the benchmark, and the report says that it was that one."""
    loaded = load_benchmark("pocket:nano")
    report = loaded.audit(
        changed(folder, tmp_path / "candidate"), metrics=["probability", "rouge_l"], num_resamples=20, progress=False
    )
    publish(report, REPO, weights=tmp_path / "candidate", **there)
    assert "pocket:nano@1" in hub.repository(REPO).files()["unlearning_audit/report.json"].decode()
    here = functools.partial(huggingface_hub.HfApi, endpoint=hub.endpoint, token=there["token"])
    monkeypatch.setattr(ours, "HfApi", lambda **options: here(library_name=options["library_name"]))
    monkeypatch.setenv("COLUMNS", "160")
    for role in ("reference", "original", "twin"):
        getattr(load_pocket("nano"), role)().save_pretrained(tmp_path / role)
    models = [part for role in ("reference", "original", "twin") for part in (f"--{role}", str(tmp_path / role))]
    done = CliRunner().invoke(app, ["verify", REPO, "--benchmark", "pocket:nano", *models])
    assert done.exit_code == 0, done.output
    assert "not reproduced" not in done.output and "probability/ships" in done.output
    lines = [line for line in done.output.splitlines() if "probability/" in line or "rouge_l/" in line]
    assert len(lines) >= 6 and all("reproduced" in line for line in lines if line.startswith("│"))
    alone = CliRunner().invoke(app, ["verify", REPO, "--data", "x"])
    assert alone.exit_code == 1 and "--data is for --benchmark" in alone.output


def changed(folder: Path, target: Path) -> str:
    """A candidate that is neither the original nor the reference."""
    shutil.copytree(folder, target)
    model = load_model(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.98)
    model.save_pretrained(target)
    return str(target)
