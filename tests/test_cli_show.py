"""The terminal's tables: made from specs, within the width of a terminal, obeying nobody."""

import dataclasses
import io

import pytest
from made_reports import made, result, results, spec
from rich.console import Console

from hf_unlearn.audit import AuditReport
from hf_unlearn.cli import _show


def shown(report, width: int, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = True) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None, force_terminal=terminal)
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


def test_a_relative_without_interval_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    bare = result("gap", 4.0, relative=-4.55, relative_confidence_interval=None)
    lines = [" ".join(line.split()) for line in shown(made(bare), 100, monkeypatch)]
    assert "gap between answers forget 0 1.00 4.00 3.50 … 4.50 10.00 –" in lines


def memorized(*others) -> AuditReport:
    """With long words, and a metric that has a short title here."""
    wide = result("gap", 12345.678, confidence_interval=(-12345.678, 23456.789), condition="relearned", relative=1.87)
    memory = result("exact_memorization", 0.4, relative=0.83)
    long = spec("a long title of memorization that nobody would call so, but somebody might")
    return made(wide, memory, *others, gap=long, exact_memorization=spec("exact memorization"))


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [24, 60, 80, 100, 160])
def test_no_digit_is_cut_and_no_word_is_broken(width: int, terminal: bool, monkeypatch: pytest.MonkeyPatch):
    """Columns are whole or not there, and which are not is said."""
    lines = shown(memorized(), width, monkeypatch, terminal=terminal)
    rows = [line.split() for line in lines]
    said = " ".join(" ".join(lines).split()).partition("no room for: ")[2].partition(";")[0].split(", ")
    cells = {
        "ideal": "0", "floor (twin)": "1.00", "candidate": "12345.68", "interval": "-12345.68 … 23456.79", "start (orig.)": "10.00",
        "relative": "1.87",
    }  # fmt: skip
    kept = [number for name, cell in cells.items() if name not in said for number in cell.split()]
    assert any(row[-len(kept) :] == kept and "forget@relearned" in row for row in rows)
    assert any("metric" in row and "candidate" in row for row in rows)
    assert any("memorization" in row or "memorized" in row for row in rows)
    table = lines[: next(place for place, line in enumerate(lines) if "0.40" in line) + 1]
    if width >= 60 or not terminal:
        assert all(len(line.rstrip()) <= (width if terminal else max(width, 100)) for line in table)
    if width >= 100 or not terminal:
        assert said == [""]
    if width <= 60 and terminal:
        assert said[:2] == ["ideal", "floor (twin)"]


def test_what_most_reports_have_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch):
    lines = shown(made(*results(), result("exact_memorization", 0.4)), 80, monkeypatch)
    assert all(len(line) <= 80 for line in lines) and not any("no room" in line for line in lines)


def test_a_short_title_is_that_of_the_same_metric_only(monkeypatch: pytest.MonkeyPatch):
    """And only there where it makes room for a column."""
    assert any(line.startswith("memorized ") for line in shown(memorized(), 24, monkeypatch))
    assert not any("memorized" in line for line in shown(memorized(), 160, monkeypatch))
    foreign = made(result("exact_memorization", 4e5, condition="w" * 40), exact_memorization=spec("foreign recall"))
    text = " ".join(" ".join(shown(foreign, 60, monkeypatch)).split())
    assert "memorized" not in text and "foreign" in text


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
