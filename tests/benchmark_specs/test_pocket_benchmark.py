"""The embedded benchmark from one end to the other: loaded, audited by Python and by command, narrowed and changed, published and verified."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from typer.testing import CliRunner

from hf_unlearn.audit import AuditReport, AuditSet
from hf_unlearn.benchmarks import BENCHMARKS, PublishedModels, load_benchmark
from hf_unlearn.cli import app
from hf_unlearn.data import load_pocket
from hf_unlearn.publishing import Statement, card_section
from hf_unlearn.publishing._escape import markdown


QUICK = {"max_examples": 6, "num_samples": 1, "num_resamples": 20}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candidate")
    pocket = load_pocket("nano")
    model = pocket.original()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.98)
    model.save_pretrained(folder)
    pocket.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def report(candidate: Path) -> AuditReport:
    return load_benchmark("pocket:nano").audit(candidate, progress=False, num_samples=1, num_resamples=20)


def test_pocket_needs_nothing_but_a_candidate(report: AuditReport):
    loaded = load_benchmark("pocket:nano")
    assert report.provenance.settings["benchmark"] == "pocket:nano@1"
    assert set(report.provenance.models) == {"candidate", "reference", "original", "twin"}
    assert set(report.provenance.data) == {"forget", "retain", "holdout", "ships"}
    named = {result.name for result in report.metrics.values()}
    assert named == set(loaded.configuration.metrics)
    assert {key.split("/")[0] for key in report.metrics if key.endswith("/ships")} == set(loaded.sets["ships"].metrics)
    # The candidate is the original, hardly touched: far from the reference, where another retraining is near.
    assert report.metrics["fade/forget"].value > 2 * report.metrics["fade/forget"].floor > 0
    assert list(loaded.headline(report)) == list(loaded.configuration.headline)


def test_a_card_names_the_benchmark(report: AuditReport):
    section = card_section(report, Statement(), "me/model")
    line = next(line for line in section.splitlines() if line.startswith("**Benchmark**"))
    assert line.endswith(markdown("pocket:nano@1"))
    bare = AuditReport.from_json(report.to_json())
    bare.provenance.settings["benchmark"] = None
    assert "**Benchmark**" not in card_section(bare, Statement(), "me/model")


def test_what_is_changed_is_said(candidate: Path):
    loaded = load_benchmark("pocket:nano")
    given = loaded.arguments(retain=load_pocket("nano").retain, seed=3, metrics=["fade", "probability"])
    assert given["benchmark"] == "pocket:nano@1 (changed: retain, metrics)" and given["seed"] == 3
    assert given["sets"]["ships"].metrics == ("probability",)
    assert "ships" not in loaded.arguments(metrics="fade")["sets"]
    assert "ships" not in loaded.arguments(sets={"ships": None})["sets"]
    assert loaded.arguments(holdout=None).get("holdout") is None
    mine = AuditSet(Dataset.from_dict({"question": ["a"], "answer": ["b"]}))
    assert set(loaded.arguments(sets={"mine": mine})["sets"]) == {"ships", "mine"}
    with pytest.raises(TypeError, match=r"no argument 'metric' to override\. Did you mean 'metrics'"):
        loaded.arguments(metric=["fade"])
    with pytest.raises(TypeError, match="no argument 'benchmark'"):
        loaded.arguments(benchmark="other")


def test_a_model_is_made_only_where_it_is_needed():
    found = load_benchmark("pocket:nano")
    made: list[str] = []
    models = PublishedModels(*(partial(made.append, role) for role in ("reference", "original", "twin")))
    configuration = replace(found.configuration, models={"base": models})
    loaded = replace(found, configuration=configuration, base_model="base")
    assert "original" not in loaded.arguments(reference="mine", twin=None) and made == ["original"]


def test_metrics_that_the_forget_set_is_not_for():
    loaded = load_benchmark("pocket:nano")
    narrow = {"forget": AuditSet(load_pocket("nano").forget, "forget", ("fade",))}
    changed = type(loaded)(loaded.benchmark, "nano", loaded.configuration, narrow, {}, loaded.base_model)
    with pytest.raises(ValueError, match="measures fade on its forget set, and metrics names none of them"):
        changed.arguments(metrics=["probability"])
    assert changed.arguments(metrics="standard")["forget"].metrics == ("fade",)


def test_the_command(cli, candidate: Path, tmp_path: Path):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    done = cli(
        "audit",
        "--benchmark",
        "pocket:nano",
        "--candidate",
        candidate,
        "--output-dir",
        tmp_path,
        *options,
        "--metrics",
        "fade,probability",
    )
    assert done.exit_code == 0, done.output
    report = AuditReport.load(tmp_path)
    assert report.provenance.settings["benchmark"] == "pocket:nano@1 (changed: metrics, max_examples)"
    assert (report.provenance.settings["max_examples"], report.provenance.settings["metrics"]) == (
        6,
        "fade,probability",
    )
    text = " ".join(done.output.split())
    assert "fade/forget " in text and "probability/retain 0." in text and "pocket:nano@1 (changed" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --forget and --reference (or --original"),
        (("--forget", "f.jsonl"), "give --reference (or --original"),
        (
            ("--reference", "r", "--forget", "f", "--data", "x", "--base-model", "b"),
            "--data and --base-model is for --benchmark",
        ),
        (("--benchmark", "pocket:nan"), "Did you mean 'nano'?"),
        (("--benchmark", "tofu:forget10", "--data", "{folder}"), "has none of forget10_perturbed"),
    ],
)
def test_a_command_that_cannot_be(cli, candidate: Path, tmp_path: Path, arguments: tuple[str, ...], message: str):
    filled = [part.format(folder=tmp_path) for part in arguments]
    done = cli("audit", "--candidate", candidate, "--output-dir", tmp_path / "out", *filled)
    assert done.exit_code == 1 and message in " ".join(done.output.split()), done.output


def test_benchmarks_are_listed(cli):
    listed = cli("benchmarks")
    assert listed.exit_code == 0 and all(name in listed.output for name in BENCHMARKS)
    plain = json.loads(cli("benchmarks", "--json").output)
    assert [found["name"] for found in plain] == list(BENCHMARKS)
    assert plain[0]["configurations"]["nano"]["models"]["pocket-nano"]["reference"] == "made here"
    one = json.loads(cli("benchmarks", "tofu", "--json").output)
    assert one["configurations"]["forget10"]["sets"]["holdout"]["source"]["name"] == "holdout10"


@pytest.mark.parametrize(
    ("name", "expected", "unexpected"),
    [
        ("tofu:forget10", ["open-unlearning/tofu_Llama-3.2-1B-Instruct_retain90", "real_authors", "MIT", "forget_quality"], "_retain99"),
        ("wmdp", ["give one with --reference", "wmdp-chem", "cais/mmlu"], "Traceback"),
        ("rwku:Stephen King", ["one subject alone", "forget_level3"], "Traceback"),
        ("muse:books", ["MUSE-Books", "MUSE-books_retrain", "privleak"], "MUSE-News"),
    ],
)  # fmt: skip
def test_one_in_full(cli, name: str, expected: list[str], unexpected: str):
    shown = cli("benchmarks", name)
    text = "".join(shown.output.split())
    assert shown.exit_code == 0 and unexpected not in text
    assert all("".join(part.split()) in text for part in expected), shown.output


@pytest.mark.parametrize(
    ("name", "message"), [("tofo", "Did you mean 'tofu'?"), ("tofu:forget11", "Did you mean 'forget1")]
)
def test_one_that_is_none(cli, name: str, message: str):
    shown = cli("benchmarks", name)
    assert shown.exit_code == 1 and message in " ".join(shown.output.split())


def test_absent_sets_are_said(cli, candidate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    for name in ("forget", "keep"):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"question": f"Who is {name} {{q}}?", "answer": name}]))
    (tmp_path / "my.yaml").write_text(
        "name: mine\ndefault: one\nconfigurations: {one: {metrics: [probability], sets: {forget: forget.json, retain: keep.json, "
        "holdout: {source: gone.json, optional: It was lost.}}}}"
    )
    loaded = load_benchmark(tmp_path / "my.yaml")
    assert list(loaded.absent) == ["holdout"]
    load_pocket("nano").reference().save_pretrained(tmp_path / "reference")
    arguments = (
        "--benchmark",
        tmp_path / "my.yaml",
        "--candidate",
        candidate,
        "--reference",
        tmp_path / "reference",
        "--output-dir",
        tmp_path / "out",
    )
    done = cli("audit", *arguments)
    assert done.exit_code == 0, done.output
    assert caplog.text.count("mine:one@1 has no holdout set here") == 1 and "It was lost." in caplog.text
    assert "hf_unlearn_benchmark_my" not in sys.modules
