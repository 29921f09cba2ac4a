"""The README's Python blocks run in order, as a newcomer would paste them, and its commands exist."""

import functools
import re
from pathlib import Path

import huggingface_hub
import pytest
from loopback_hub import loopback_hub
from typer.testing import CliRunner

import hf_unlearn.publishing._hub
from hf_unlearn.cli import app


README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """On a Hub on this machine."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    namespace: dict = {}
    with loopback_hub(tmp_path / "hub") as hub:
        here = functools.partial(huggingface_hub.HfApi, endpoint=hub.endpoint, token="hf_t")
        monkeypatch.setattr(hf_unlearn.publishing._hub, "HfApi", lambda **options: here())
        run_blocks(namespace)
    assert namespace["values"]["fade"] > 0
    assert namespace["result"].floor < namespace["result"].start
    assert (namespace["report"].reading()[0]) in capsys.readouterr().out
    assert {check.outcome for check in namespace["checks"] if check.name in ("card", "weights", "fade")} == {
        "reproduced"
    }
    assert list(place.iterdir()) == []


def run_blocks(namespace: dict) -> None:
    assert len(blocks("python")) >= 5
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"README.md block {number}", "exec"), namespace)


def test_commands_exist():
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    commands = re.findall(r"^hf-unlearn ([\w-]+)(.*)$", text, re.MULTILINE)
    assert {name for name, _ in commands} == {
        "unlearn",
        "audit",
        "publish",
        "verify",
        "compare",
        "push-metrics",
        "metrics",
        "benchmarks",
        "import-eval",
    }
    for name, rest in commands:
        help_text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        for option in re.findall(r"--[\w-]+", rest):
            assert option in help_text, (name, option)


def test_make_targets_exist():
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("bash")), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_lead_somewhere():
    root = Path(__file__).resolve().parents[1]
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert "examples/publish.py" in targets
    for target in targets:
        assert (root / target).exists(), target
