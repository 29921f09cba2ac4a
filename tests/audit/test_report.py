"""The report as JSON: there and back, as its published schema says, and of what somebody else may have written into it."""

import copy
import dataclasses
import json
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_reports import made, result, results
from report_violations import violations

from hf_unlearn.audit import AuditReport, MetricResult, Provenance
from hf_unlearn.audit._findings import KINDS, Finding
from hf_unlearn.audit._report import ShownSpec, report_schema


WHOLE = dataclasses.replace(
    results()[4],
    condition="int8",
    relative_reason="none",
    details={"share": 0.5},
    others={"reference": 0.5, "twin": 0.25},
)
FOUND = Finding("not known before", "original", "reference", 0.1, (-0.2, 0.4), 24, "too few")


def test_everything_comes_back():
    report = made(*results(), WHOLE, findings=(FOUND, Finding("equal", "original", "candidate")))
    assert AuditReport.from_json(report.to_json()) == report


_FINITE = st.floats(-1e300, 1e300)
_INTERVALS = st.none() | st.tuples(_FINITE, _FINITE)


@given(_FINITE, _INTERVALS, _INTERVALS, st.none() | _FINITE, st.dictionaries(st.text(), _FINITE), st.lists(st.text()))
def test_any_numbers_and_notes_come_back(value, interval, over, ideal, details, notes):
    found = result("gap", value, confidence_interval=interval, over_floor_interval=over, ideal=ideal, details=details)
    report = made(found, notes=tuple(notes))
    assert AuditReport.from_json(report.to_json()) == report


def test_names_of_schema_1_still_work_and_say_so():
    report = made()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report.metrics["gap"] is report.metrics["gap/forget"] and "gap/retain" in report.metrics
    for old, new in {"retain_gap": "gap/retain", "forget_gap": "gap/forget"}.items():
        with pytest.warns(DeprecationWarning, match=f"'{old}' is called '{new}' now"):
            assert report.metrics[old] is report.metrics[new]
    with pytest.raises(KeyError, match="no result 'holdout_gap'; there are gap/forget"):
        report.metrics["holdout_gap"]


def test_a_report_is_as_its_schema_says():
    schema = report_schema()
    report = made(*results(), WHOLE, findings=(FOUND,))
    assert violations(json.loads(report.to_json()), schema, schema) == []


@pytest.mark.parametrize("kind", [MetricResult, ShownSpec, Finding, Provenance])
def test_the_schema_has_every_field_and_no_other(kind: type):
    """A field that is added to a report and not to its schema would be a report that breaks its own schema."""
    parts = {MetricResult: "result", ShownSpec: "spec", Finding: "finding", Provenance: "provenance"}
    schema = report_schema()["$defs"][parts[kind]]
    assert set(schema["properties"]) == {field.name for field in dataclasses.fields(kind)}
    assert all(part.get("description") for part in schema["properties"].values())
    if kind is Finding:
        assert set(schema["properties"]["kind"]["enum"]) == set(KINDS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metrics", "gap/forget", "value"), "4.0"),
        (("metrics", "gap/forget", "confidence_interval"), [1.0]),
        (("metrics", "gap/forget", "direction"), "down"),
        (("metrics", "gap/forget", "certified"), True),
        (("metrics", "gap"), {"value": 1.0, "n": 1, "unit": "u", "direction": "lower"}),
        (("schema_version",), 1),
        (("specs", "gap", "ideal"), "mine"),
        (("findings",), [{"kind": "certified"}]),
        (("notes",), [3]),
    ],
)  # fmt: skip
def test_the_schema_refuses(path: tuple[str, ...], value: Any):
    plain = json.loads(made().to_json())
    at = plain
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    assert violations(plain, report_schema(), report_schema())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"schema_version": 99}', '{"schema_version": 2}', "[" * 100_000]
)
def test_what_is_not_a_report_is_refused(text: str):
    with pytest.raises(ValueError, match=r"not an audit report|schema version 99"):
        AuditReport.from_json(text)


def test_results_must_be_finite_and_have_a_direction():
    with pytest.raises(ValueError, match="finite"):
        MetricResult(float("nan"), None, 1, "u", "lower")
    with pytest.raises(ValueError, match="direction"):
        MetricResult(1.0, None, 1, "u", "down")


EVIL = [
    None, True, -1, 0, 1e308, -1.7e308, 10**400, float("nan"), float("inf"), "", "x", "a\nb", "\x1b[2J", "\u202eltr", "../../up", "$\\frac{1}{0}$",
    "<script>alert(1)</script>", "[red]x[/red]", "| a | b |", "{{ 7 * 7 }}", "x" * 5000, [], [1], [2.0, 1.0], [1.0, 2.0, 3.0], {}, {"1": 1.0}, {"gap": {}},
]  # fmt: skip
"""Put in the place of anything."""


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Of everything in a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, part in parts for place in places(part, (*path, name)))]


def forged(number: int) -> str:
    """A report in which a few things are not what they should be; names may be, too."""
    plain = json.loads(made(*results(), WHOLE, findings=(FOUND,)).to_json())
    draw = random.Random(number)
    for _ in range(draw.choice([1, 1, 2, 4])):
        *path, last = draw.choice([place for place in places(plain) if place])
        at = plain
        for name in path:
            at = at[name]
        if isinstance(at, dict) and draw.random() < 0.2:
            at[str(draw.choice(EVIL))] = at.pop(last)
        else:  # mostly of the same kind, so that it is read
            like = [evil for evil in EVIL if isinstance(evil, type(at[last])) and draw.random() < 0.9]
            at[last] = copy.deepcopy(draw.choice(like or EVIL))
    return json.dumps(plain)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("batch", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 7))])
def test_a_forged_report_is_refused_or_harmless(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever is read can be shown by every view: no crash, no control character, no markup, no file outside of the folder."""
    from hf_unlearn.audit import _figures as figures
    from hf_unlearn.cli._show import console, print_report
    from hf_unlearn.publishing import Statement, update_card
    from hf_unlearn.publishing._card import sections_of
    from hf_unlearn.publishing._public import public_report

    monkeypatch.setattr(figures, "_save", lambda figure, path: path.write_bytes(b"drawn"))  # drawing itself is slow
    read = 0
    for number in range(40 * batch, 40 * batch + 40):
        text = forged(number)
        try:
            report = AuditReport.from_json(text)
        except ValueError as error:
            assert "not an audit report" in str(error) or "schema version" in str(error)
            continue
        read += 1
        with console.capture() as captured:
            print_report(report, "forged")
        public = public_report(report, bytes(32))
        card = update_card(None, public, Statement(), "me/model", [])
        for shown in (captured.get(), card):
            assert "\x1b" not in shown.replace("\x1b[0m", "").replace("\x1b[2m", "") and "\u202e" not in shown, number
        (section,) = sections_of(card)
        assert "<script" not in card and "{{" not in section
        paths = figures.draw_figures(report, tmp_path)
        assert all(path.resolve().parent == tmp_path.resolve() for path in paths)
        assert AuditReport.from_json(public.to_json()).metrics.keys() == public.metrics.keys()
    assert 5 < read < 40
