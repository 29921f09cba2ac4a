"""`hf-unlearn metrics`: all that there is, known by specs alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from hf_unlearn.audit import METRICS, BaseMetric, MetricSpec, Reading, Rows
from hf_unlearn.cli import app
from hf_unlearn.functional import Bootstrap, Estimate


SPEC = MetricSpec(
    name="crumbs",
    title="[bold]crumbs[/bold] per loaf",
    unit="grams",
    ideal=0.25,
    bounds=(0.0, None),
    family="utility",
    splits=("retain",),
    needs=(Reading("answers", frozenset({"lens", "features"})), Reading("ovens")),
    standard=False,
)


class Crumbs(BaseMetric):
    """Known to this file only."""

    spec = SPEC

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """Never called."""
        return Estimate(0.0, np.zeros(1))


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(METRICS, "crumbs", Crumbs)

    def run(*arguments: str, width: int = 100) -> str:
        monkeypatch.setattr("hf_unlearn.cli._metrics.console", Console(width=width))
        result = CliRunner().invoke(app, ["metrics", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_every_metric_is_a_row_of_its_family(listed):
    output = listed(width=100)
    assert max(map(len, output.splitlines())) <= 100
    specs = [metric.from_settings({}).spec for metric in METRICS.values()]
    assert all(f"│ {spec.name} " in output for spec in specs)
    assert {spec.family for spec in specs} <= {line.strip() for line in output.splitlines()}


def test_a_metric_of_ones_own_is_there_with_all_that_its_spec_says(listed):
    lines = [line for line in listed(width=300).splitlines() if "crumbs" in line or "grams" in line]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert cells[0] == [
        "crumbs *",
        "[bold]crumbs[/bold] per loaf",
        "0.25",
        "retain",
        "answers with features and lens, ovens",
    ]
    assert cells[1][1] == "grams"


def test_programs_get_a_list(listed):
    found = {entry["name"]: entry for entry in json.loads(listed("--json"))}
    assert list(found) == list(METRICS)
    assert found["crumbs"] == {
        "name": "crumbs", "title": SPEC.title, "unit": "grams", "ideal": 0.25, "bounds": [0.0, None], "family": "utility", "splits": ["retain"],
        "requires": [], "headline": False, "standard": False, "cost": "answers with features and lens, ovens",
    }  # fmt: skip


def test_the_star_is_for_what_must_be_named(listed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Crumbs, "spec", replace(SPEC, standard=True))
    assert "crumbs *" not in listed() and "│ crumbs " in listed()
