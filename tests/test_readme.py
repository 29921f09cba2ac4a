"""The README's Python blocks run in order, as a newcomer would paste them, and its commands exist."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hf_unlearn.cli import app


README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    assert len(blocks("python")) >= 5
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"README.md block {number}", "exec"), namespace)
    assert namespace["values"]["fade"] > 0
    assert namespace["result"].floor < namespace["result"].start
    assert (namespace["report"].reading()[0]) in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_commands_exist():
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    commands = re.findall(r"^hf-unlearn (\w+)(.*)$", text, re.MULTILINE)
    assert {name for name, _ in commands} == {"unlearn", "audit"}
    for name, rest in commands:
        help_text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        for option in re.findall(r"--[\w-]+", rest):
            assert option in help_text, (name, option)


def test_make_targets_exist():
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("bash")), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_lead_somewhere():
    root = Path(__file__).resolve().parents[1]
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / target).exists(), target
