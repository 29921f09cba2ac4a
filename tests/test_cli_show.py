"""The terminal's tables: made from specs, within the width of a terminal, obeying nobody."""

import dataclasses
import io

import pytest
from made_reports import made, result, results, spec
from rich.console import Console

from hf_unlearn.cli import _show


def shown(report, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    monkeypatch.setattr(_show, "console", console)
    _show.print_report(report, "audit of [me]")
    return console.export_text().splitlines()


def test_one_table_for_each_family(monkeypatch: pytest.MonkeyPatch):
    lines = [" ".join(line.split()) for line in shown(made(), 100, monkeypatch)]
    assert lines[0].startswith("audit of [me]")
    tables = [line for line in lines if line in ("Outputs", "Hidden states")]
    assert tables == ["Outputs", "Hidden states"]
    for row in (
        "gap between answers forget 0 1.00 4.00 3.50 … 4.50 10.00 0.33",
        "forget@int8 0 1.00 8.00 7.50 … 8.50 10.00 0.78",
        "retain 0 1.00 1.10 0.60 … 1.60 10.00 0.01",
        "recall of the answer forget 0.20 0.25 0.40 0.30 … 0.50 0.90 0.30",
        "twist of states forget 0 1.00 3.40 2.90 … 3.90 10.00 0.27",
        "spread of states forget 0 – 2.00 1.50 … 2.50 – –",
    ):
        assert row in lines, row
    assert lines.index("twist of states forget 0 1.00 3.40 2.90 … 3.90 10.00 0.27") < lines.index(
        "spread of states forget 0 – 2.00 1.50 … 2.50 – –"
    )  # what is headline comes first
    assert "note: a limit" in lines and any(
        line.startswith("Recall of the answer on the forget set:") for line in lines
    )


def test_a_relative_that_means_nothing_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    """These examples do not tell the original from another retraining."""
    dull = result("gap", 4.0, over_floor_interval=(-1.0, 5.0), start_over_floor_interval=(-1.0, 19.0))
    lines = [" ".join(line.split()) for line in shown(made(dull), 100, monkeypatch)]
    assert "gap between answers forget 0 1.00 4.00 3.50 … 4.50 10.00 –" in lines


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_number_is_cut(width: int, monkeypatch: pytest.MonkeyPatch):
    """Words are wrapped instead."""
    long = spec("a long title of a metric that nobody would call so, but somebody might")
    wide = [
        result("gap", 4.0, condition="relearned"),
        result("gap", 12345.678, confidence_interval=(-12345.678, 23456.789)),
    ]
    lines = shown(made(*wide, gap=long), width, monkeypatch)
    assert all(len(line) <= width for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "-12345.68 … 23456.79" in text and "12345.68" in text and "3.50 … 4.50" in text


def test_numbers_without_measure_and_without_sign(monkeypatch: pytest.MonkeyPatch):
    assert _show.number(1.0142e304) == "1.01e+304" and _show.number(-0.001) == "0.00" and _show.number(None) == "–"
    assert _show.bounds((0.0, 1e304)) == "0.00 … 1.00e+304"


@pytest.mark.parametrize(
    "text", ["[red]x[/red]", "[link=http://evil]x", "\x1b[2J\x1b[31m", "\u202edesrever", "a\nb", "[/]", "\\[x]"]
)
def test_text_of_others_is_shown_and_not_obeyed(text: str, monkeypatch: pytest.MonkeyPatch):
    evil = spec(text, family=text, unit=text)
    report = made(result("gap", 4.0, condition=text, split=text), *results()[3:], notes=(text,), gap=evil)
    lines = shown(dataclasses.replace(report, created=text), 160, monkeypatch)
    seen = "".join(lines)
    assert "\x1b" not in seen and "\u202e" not in seen
    if "\n" not in text and "\x1b" not in text and "\u202e" not in text:
        assert sum(text in line for line in lines) >= 3  # as table, metric, note
