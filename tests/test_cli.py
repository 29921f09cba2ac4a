"""The command line: what it prints, what it leaves, and how it fails."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from launch import torchrun
from typer.testing import CliRunner

from hf_unlearn.audit import AuditReport, verdict
from hf_unlearn.audit._verdict import GOOD
from hf_unlearn.cli import app
from hf_unlearn.cli._show import number
from hf_unlearn.data import load_pocket
from hf_unlearn.inference import OtherProcessError


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def test_the_demo_tells_the_whole_story(cli, tmp_path: Path):
    result = cli("demo", "--size", "nano", "--output-dir", tmp_path)
    assert result.exit_code == 0, result.output
    for candidate in ("npo", "grad_ascent"):
        report = AuditReport.load(tmp_path / candidate)
        assert report.metrics["fade/forget"].floor < report.metrics["fade/forget"].start
        assert (tmp_path / candidate / "fade.png").stat().st_size > 10_000
    text = " ".join(result.output.split())
    assert text.count("FADE on the forget set: candidate") == 2
    destroyed = AuditReport.load(tmp_path / "grad_ascent").metrics["fade/forget"]
    assert destroyed.value > 2 * destroyed.start and verdict(destroyed).kind not in GOOD


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pocket, folder = load_pocket("nano"), tmp_path_factory.mktemp("files")
    for role in ("original", "reference"):
        getattr(pocket, role)().save_pretrained(folder / role)
        pocket.tokenizer.save_pretrained(folder / role)
    for split in ("forget", "retain"):
        getattr(pocket, split).to_json(folder / f"{split}.jsonl")
    return {path.stem: path for path in folder.iterdir()}


def test_unlearn_then_audit(cli, files: dict[str, Path], tmp_path: Path):
    sets = ("--forget", files["forget"], "--retain", files["retain"])
    options = ("--epochs", 1, "--learning-rate", 1e-3, "--lora-r", 4)
    result = cli("unlearn", "--model", files["original"], *sets, "--output-dir", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "unlearning.json").read_text())["adapter"].endswith("LORA")
    models = ("--candidate", tmp_path / "out", "--reference", files["reference"], "--original", files["original"])
    quick = ("--max-examples", 4, "--num-samples", 2)
    result = cli("audit", *models, *sets, "--output-dir", tmp_path / "audit", *quick)
    assert result.exit_code == 0, result.output
    assert "FADE" in result.output
    assert "No twin was given" in " ".join(result.output.split())
    report = AuditReport.load(tmp_path / "audit")
    assert report.metrics["fade/forget"].start is not None
    assert report.metrics["fade/forget"].relative_reason == "needs a twin and an original"


@pytest.mark.distributed
def test_an_audit_under_torchrun_gives_the_report_of_one_process(cli, files: dict[str, Path], tmp_path: Path):
    arguments = ["audit", "--forget", files["forget"], "--max-examples", 4, "--num-samples", 2]
    for role in ("candidate", "original"):
        arguments += [f"--{role}", files["original"]]
    arguments += ["--reference", files["reference"]]
    assert cli(*arguments, "--output-dir", tmp_path / "one").exit_code == 0
    script = Path(sys.executable).parent / "hf-unlearn"
    output = torchrun(script, *map(str, arguments), "--output-dir", str(tmp_path / "two"))
    assert output.count("report in") == 1  # one process speaks
    one, two = (AuditReport.load(tmp_path / name) for name in ("one", "two"))
    assert one.metrics == two.metrics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--forget", "nowhere.jsonl", "--retain", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--forget", "{forget}", "--retain", "{retain}", "--objective", "npoo"), "Did you mean 'npo'?"),
        (("--forget", "{forget}", "--retain", "{forget}"), "--allow-overlap"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(cli, arguments: tuple, message: str, files: dict, tmp_path: Path):
    filled = [argument.format(**files) for argument in arguments]
    result = cli("unlearn", "--model", files["original"], *filled, "--output-dir", tmp_path)
    assert result.exit_code == 1
    assert "error:" in result.output and message in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_an_audit_that_cannot_be_saved_is_saved_elsewhere(
    cli, files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = AuditReport.save

    def full(self, folder):
        if Path(folder) == tmp_path / "audit":
            raise OSError(28, "No space left on device")
        return real(self, folder)

    monkeypatch.setattr(AuditReport, "save", full)
    arguments = ("--candidate", files["original"], "--reference", files["reference"], "--forget", files["forget"])
    quick = ("--max-examples", 2, "--num-samples", 1)
    result = cli("audit", *arguments, "--output-dir", tmp_path / "audit", *quick)
    text = "".join(result.output.split("\n"))
    assert result.exit_code == 1
    saved = text.split("It was saved to ")[1].split(" instead")[0]
    assert "fade/forget" in AuditReport.load(saved).metrics


@pytest.mark.parametrize(
    ("left", "says"),
    [
        ("checkpoints/checkpoint-3", "checkpoint-3; the same command with --resume goes on"),
        (None, "no checkpoint was kept (--save-steps keeps some), so"),
    ],
)
def test_ctrl_c_says_what_was_kept_and_how_to_go_on(
    cli, files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str | None, says: str
):
    _interrupted(monkeypatch, "hf_unlearn.training", "unlearn", tmp_path, left)
    sets = ("--forget", files["forget"], "--retain", files["retain"], "--output-dir", tmp_path)
    result = cli("unlearn", "--model", files["original"], *sets)
    assert result.exit_code == 130 and says in result.output.replace("\n", "") and "Traceback" not in result.output


@pytest.mark.parametrize(("left", "says"), [("evidence/rows", "goes on from there"), (None, "nothing was kept yet")])
def test_ctrl_c_in_an_audit(
    cli, files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str | None, says: str
):
    _interrupted(monkeypatch, "hf_unlearn.audit", "audit", tmp_path, left)
    models = ("--candidate", files["original"], "--reference", files["reference"])
    result = cli("audit", *models, "--forget", files["forget"], "--output-dir", tmp_path)
    assert result.exit_code == 130 and says in result.output.replace("\n", "")


@pytest.mark.parametrize("error", [OtherProcessError("process 1: ValueError: no"), torch.OutOfMemoryError("no room")])
def test_another_process_and_too_little_memory_are_one_sentence(
    cli, files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
):
    monkeypatch.setattr(
        importlib.import_module("hf_unlearn.audit"), "audit", lambda *_, **__: (_ for _ in ()).throw(error)
    )
    models = ("--candidate", files["original"], "--reference", files["reference"])
    result = cli("audit", *models, "--forget", files["forget"], "--output-dir", tmp_path)
    assert result.exit_code == 1 and f"error: {error}" in " ".join(result.output.split())
    assert "Traceback" not in result.output


def _interrupted(monkeypatch: pytest.MonkeyPatch, module: str, name: str, folder: Path, left: str | None) -> None:
    """Let a function leave something and then be interrupted."""

    def stop(*arguments: object, **options: object) -> None:
        if left is not None:
            (folder / left).mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(module), name, stop)


@pytest.mark.parametrize("value, shown", [(-0.0004, "0.00"), (-0.006, "-0.01"), (0.125, "0.12"), (None, "–")])
def test_numbers_have_two_decimals_and_zero_no_sign(value: float | None, shown: str):
    assert number(value) == shown
