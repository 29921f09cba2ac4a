"""`hf-unlearn metrics`: all that there is, known by specs alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from hf_unlearn.audit import METRICS, BaseMetric, Citation, MetricSpec, Reading, Rows
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
    requires=("original",),
    citation=Citation("A baker [red] 1999", "1234.56789", "our loaf"),
    without_knowledge="what any knife leaves",
    does_not_show="Whether the loaf was good.",
    options=("seed", "num_samples"),
)


class Crumbs(BaseMetric):
    """Crumbs over
    loaves.

    Known to this file only.

    Args:
        knife: Not to be shown.
    """

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
    crumbs = found["crumbs"]
    seed = {"default": 0, "help": "Of sampling, subsets and bootstrap."}
    assert crumbs.pop("options") == {
        "seed": seed,
        "num_samples": {"default": 8, "help": "Completions per prompt and model."},
    }
    assert crumbs == {
        "name": "crumbs", "title": SPEC.title, "unit": "grams", "ideal": 0.25, "bounds": [0.0, None], "direction": "reference", "range": "[0, ∞)",
        "without_knowledge": "what any knife leaves", "does_not_show": "Whether the loaf was good.", "family": "utility", "splits": ["retain"],
        "across": False, "requires": ["original"], "compares": False, "by_layer": False, "headline": False, "standard": False,
        "definition": "Crumbs over loaves.\nKnown to this file only.", "cost": "answers with features and lens, ovens",
        "citation": {"text": "A baker [red] 1999", "arxiv": "1234.56789", "note": "our loaf"},
    }  # fmt: skip
    assert json.loads(listed("crumbs", "--json")) == json.loads(listed("--json"))[-1]


def test_the_star_is_for_what_must_be_named(listed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Crumbs, "spec", replace(SPEC, standard=True))
    assert "crumbs *" not in listed() and "│ crumbs " in listed()


def test_one_metric_in_full(listed):
    """Every fact that the spec has is there, nothing is taken for markup, and what is empty is left out."""
    output = listed("crumbs", width=100)
    assert max(map(len, output.splitlines())) <= 100
    said = " ".join(output.split())
    for fact in (
        "crumbs: [bold]crumbs[/bold] per loaf (utility)", "definition Crumbs over loaves. Known to this file only. unit grams",
        "direction ideal: 0.25", "range [0, ∞)", "floor what any knife leaves", "does not show Whether the loaf was good.",
        "measured on retain; not in the standard audit: name it in --metrics", "needs a model as original",
        "reads answers with features and lens, ovens", "options seed (0): Of sampling, subsets and bootstrap.",
        "source A baker [red] 1999; arXiv 1234.56789; our loaf",
    ):  # fmt: skip
        assert fact in said, fact
    assert "knife:" not in said
    assert "needs a model" not in listed("fade")


def test_every_metric_can_be_shown(listed):
    for name, metric in METRICS.items():
        spec = metric.from_settings({}).spec
        said = " ".join(listed(name, width=2000).split())
        assert " ".join(spec.does_not_show.split()) in said and spec.direction_in_words in said and spec.range in said
        assert json.loads(listed(name, "--json"))["without_knowledge"] == spec.without_knowledge


def test_an_unknown_metric_is_suggested():
    result = CliRunner().invoke(app, ["metrics", "truth_rato"])
    assert result.exit_code == 1
    assert "Did you mean 'truth_ratio'?" in result.output
