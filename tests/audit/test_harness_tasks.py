"""Harness tasks by name: what is wrong with them is said in words, and before any model is opened."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness_files import CHOICE, GENERATE, write_group, write_task
from small_audits import arguments
from typer.testing import CliRunner

from hf_unlearn.audit import audit
from hf_unlearn.audit._contracts import is_measured
from hf_unlearn.audit.domains import _causal_lm, _harness_set, _harness_tasks
from hf_unlearn.audit.domains._harness_set import HarnessSet
from hf_unlearn.audit.domains._harness_tasks import open_tasks
from hf_unlearn.audit.metrics import METRICS
from hf_unlearn.audit.metrics._harness import HarnessGroupMetric, HarnessMetric, harness_metrics
from hf_unlearn.cli import app
from hf_unlearn.config import AuditConfig


pytest.importorskip("lm_eval")
ROWS: list[dict[str, Any]] = [
    {"question": f"What is {at}?", "choices": ["a", "b", "c"], "gold": at % 3} for at in range(5)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_task(tmp_path, "one", CHOICE, ROWS)
    write_task(tmp_path, "two", CHOICE, [*ROWS[:2], ROWS[0]])
    write_task(
        tmp_path, "three", GENERATE, [{"question": "Wer?", "answer": "Ünïcode 句"}, {"question": "", "answer": ""}]
    )
    write_group(tmp_path, "both", ["one", "two"], by_size=True)
    (tmp_path / "loose.yaml").write_text("group: loose\ntask: [both, three]\nmetadata: {version: 1.0}\n")
    return tmp_path


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **options: Any) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr(_causal_lm, "open_subject", refuse)


def names(folder: Path, *asked: str, limit: int | None = None) -> list[str]:
    return [metric.spec.name for metric in harness_metrics(open_tasks(asked, str(folder), limit))]


def test_a_result_for_each_task_or_group_metric_and_filter(folder: Path) -> None:
    assert names(folder, "one") == ["one_acc", "one_acc_norm", "one_mcc"]
    assert names(folder, "three") == ["three_exact_match_whole", "three_exact_match_first-word"]
    assert names(folder, "both") == ["both_acc"]
    assert names(folder, "loose") == ["both_acc", "three_exact_match_whole", "three_exact_match_first-word"]


def test_a_tag_is_its_tasks(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text((folder / f"{name}.yaml").read_text() + "tag: [choices]\n")
    assert names(folder, "choices") == [
        f"{name}_{part}" for name in ("one", "two") for part in ("acc", "acc_norm", "mcc")
    ]


def test_values_that_cannot_be_kept_are_refused_and_undeclared_ones_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task = open_tasks(["one"], str(folder), None).tasks["one"]
    given = [{"acc,none": 1.0, "more,none": 2.0}] * 5
    monkeypatch.setattr(_harness_set, "harness_values", lambda *a, **k: (given, {"acc,none": 1.0, "more,none": 2.0}))
    assert len(_harness_set._values(task, Subject(), None, None, None)) == 5
    assert "one also gives ['more'], which it does not declare" in caplog.text
    given[0] = {"acc,none": {1, 2}}
    with pytest.raises(ValueError, match="'one' gives documents values that cannot be kept: a value of set"):
        _harness_set._values(task, Subject(), None, None, None)
    given[0] = {"acc,none": 0.0}
    with pytest.raises(RuntimeError, match=r"lm-eval says acc,none = 1.0 of 'one' for the candidate, but .* give 0.8"):
        _harness_set._values(task, Subject(), None, None, None)


class Subject:
    view, key = None, "candidate"


def test_specs_say_what_is_known_before_anything_is_asked(folder: Path) -> None:
    one, group = (harness_metrics(open_tasks([name], str(folder), None))[0] for name in ("one", "both"))
    assert isinstance(one, HarnessMetric) and isinstance(group, HarnessGroupMetric)
    for metric in (one, group):
        spec = metric.spec
        assert (spec.bounds, spec.better, spec.ideal, spec.family) == ((0.0, 1.0), "higher", "reference", "utility")
        assert spec.without_knowledge and spec.does_not_show and spec.by_name


def test_the_set_has_the_documents_and_only_the_harnesss_metrics(folder: Path) -> None:
    tasks = open_tasks(["both", "three"], str(folder), 4)
    found = HarnessSet(tasks, tuple(metric.spec.name for metric in harness_metrics(tasks)))
    assert len(found) == 4 + 3 + 2 and found.total == 5 + 3 + 2
    assert list(found.places["two"]) == [4, 5, 6]
    assert found.clusters[4] == found.clusters[6] and len(set(found.clusters.tolist())) == 8  # not across tasks
    measured = [name for name, metric in METRICS.items() if is_measured(metric.from_settings({}).spec, found)]
    assert measured == []


def test_a_metric_of_the_harness_is_not_measured_on_other_sets(folder: Path) -> None:
    class Retain:
        name, role, metrics = "retain", "retain", None

    metric = harness_metrics(open_tasks(["one"], str(folder), None))[0]
    assert not is_measured(metric.spec, Retain())


def test_other_documents_or_another_question_are_another_task(folder: Path) -> None:
    before = open_tasks(["one"], str(folder), None).tasks["one"]
    assert open_tasks(["one"], str(folder), None).tasks["one"].fingerprint == before.fingerprint
    assert open_tasks(["one"], str(folder), 3).tasks["one"].fingerprint != before.fingerprint
    text = (folder / "one.yaml").read_text()
    (folder / "one.yaml").write_text(text.replace("Question:", "Q:"))
    assert open_tasks(["one"], str(folder), None).tasks["one"].fingerprint != before.fingerprint


def test_a_task_that_lies_elsewhere_is_the_same_and_other_shots_are_not(folder: Path, tmp_path: Path) -> None:
    rows = [{"question": f"Q{at}", "answer": f"A{at}"} for at in range(4)]
    write_task(folder / "here", "shots", GENERATE, rows, shots=2)
    write_task(folder / "there", "shots", GENERATE, rows, shots=2)
    here, there = (open_tasks(["shots"], str(folder / name), 2).tasks["shots"] for name in ("here", "there"))
    assert here.fingerprint == there.fingerprint and len(here.hashes) == 2
    write_task(folder / "there", "shots", GENERATE, [*rows[:3], {"question": "Q3", "answer": "other"}], shots=2)
    there = open_tasks(["shots"], str(folder / "there"), 2).tasks["shots"]
    assert here.hashes == there.hashes and here.fingerprint != there.fingerprint


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["both", "one"], "the task 'one' twice, in 'both' and in 'one'"),
        (["images"], "'images' needs images"),
        (["runs_code"], "'runs_code' runs code that models write"),
        (["nowhere"], r"'nowhere' cannot be opened \(.*gone.jsonl"),
    ],
)
def test_tasks_that_cannot_be_asked(folder: Path, unopened: None, asked: list[str], message: str) -> None:
    text = (folder / "one.yaml").read_text()
    (folder / "images.yaml").write_text(text.replace("task: one", "task: images") + "doc_to_image: [picture]\n")
    (folder / "runs_code.yaml").write_text(text.replace("task: one", "task: runs_code") + "unsafe_code: true\n")
    gone = text.replace("task: one", "task: nowhere").replace("one.jsonl", "gone.jsonl")
    (folder / "nowhere.yaml").write_text(gone)
    with pytest.raises(ValueError, match=message):
        audit(**arguments(harness_tasks=asked, harness_include_path=folder))


def test_an_unknown_name_says_what_may_have_been_meant(
    folder: Path, unopened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks import TaskManager

    own = TaskManager.__init__
    # Without lm-eval's own many thousand files, which take long to look through.
    monkeypatch.setattr(
        TaskManager, "__init__", lambda self, **given: own(self, **{**given, "include_defaults": False})
    )
    with pytest.raises(ValueError, match=r"no task, group or tag 'thre'; .* Did you mean 'three'\?"):
        audit(**arguments(harness_tasks=["one", "thre"], harness_include_path=folder))


@pytest.mark.slow
def test_an_unknown_name_among_lm_evals_own() -> None:
    with pytest.raises(ValueError, match=r"Did you mean .*'mmlu'"):
        open_tasks(["mmul"], None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"harness_include_path": "nowhere/at/all"}, "harness_include_path must be a folder"),
        ({"harness_tasks": ["one", "one"]}, "harness_tasks names 'one' twice"),
        ({"harness_limit": 0}, "harness_limit must be at least 1"),
        ({"sets": {"harness": arguments()["retain"]}}, "there is a set 'harness' already"),
    ],
)
def test_options_are_checked_first(folder: Path, unopened: None, changes: dict[str, Any], message: str) -> None:
    given = {"harness_tasks": ["one"], "harness_include_path": folder, **changes}
    with pytest.raises(ValueError, match=message):
        audit(**arguments(**given))


def test_one_text_is_no_list_of_tasks() -> None:
    with pytest.raises(TypeError, match="harness_tasks must be a list of texts"):
        AuditConfig(harness_tasks="mmlu")
    assert AuditConfig(harness_tasks=["mmlu", "arc_easy"]).plain()["harness_tasks"] == "mmlu,arc_easy"
    assert AuditConfig.read_back({"harness_tasks": "mmlu,arc_easy"}).harness_tasks == ("mmlu", "arc_easy")
    assert AuditConfig.read_back({"harness_tasks": ""}).harness_tasks == ()


def test_without_lm_eval_the_error_names_the_package(
    folder: Path, unopened: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_harness_tasks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'needs lm-eval: pip install "lm-eval>=0.4.13,<0.5"'):
        audit(**arguments(harness_tasks=["one"], harness_include_path=folder))


def test_the_command_says_in_a_sentence_that_lm_eval_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    importlib.import_module("hf_unlearn.publishing")  # or it would be imported with the replaced function, and keep it

    def missing(*given: Any, **options: Any) -> None:
        assert options["harness_tasks"] == ("mmlu", "arc_easy")
        raise ImportError('harness_tasks needs lm-eval: pip install "lm-eval>=0.4.13,<0.5"')

    monkeypatch.setattr(sys.modules["hf_unlearn.audit"], "audit", missing)
    given = ["audit", "--candidate", "a", "--reference", "b", "--forget", "c", "--output-dir", str(tmp_path)]
    result = CliRunner().invoke(app, [*given, "--harness-tasks", "mmlu,arc_easy"])
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "needs lm-eval" in result.output + result.stderr


def test_lm_eval_is_not_imported_before_tasks_are_named() -> None:
    program = (
        "import hf_unlearn.audit, hf_unlearn.cli, sys; assert not [m for m in sys.modules if m.startswith('lm_eval')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_requirement_is_said_alike_everywhere() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert text.count(f'"{_harness_tasks.NEEDED}"') == 2


def test_documents_count_like_everywhere(folder: Path) -> None:
    assert np.array_equal([task.count for task in open_tasks(["both"], str(folder), 99).tasks.values()], [5, 3])
