"""A whole audit under two processes is that of one, number by number, and everyone gets it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from launch import accelerate_launch, torchrun
from small_audits import Noisy, arguments, numbers
from two_processes_failing_audit import FAILURES

from hf_unlearn.audit import AuditReport, audit


@pytest.mark.distributed
@pytest.mark.parametrize("start", [torchrun, pytest.param(accelerate_launch, marks=pytest.mark.slow)])
def test_two_processes_report_what_one_does(tmp_path: Path, start: Callable[..., str]):
    start(Path(__file__).with_name("two_processes_audit.py"), str(tmp_path), timeout=240)
    first, second = (AuditReport.from_json((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    alone = audit(**arguments(batch_size=3), conditions=[Noisy()])
    assert first.metrics == second.metrics == AuditReport.load(tmp_path / "audit").metrics
    found, expected = numbers(first), numbers(alone)
    assert found.keys() == expected.keys() and len(found) > 500
    for place, value in expected.items():
        assert found[place] == pytest.approx(value, rel=1e-9, abs=1e-9), place
    assert first.notes == alone.notes and first.findings == alone.findings


@pytest.mark.distributed
def test_where_one_process_fails_all_end_with_its_message(tmp_path: Path):
    """In every phase, on either process, also where they were given different things; and only the main one needs a place to write to."""
    torchrun(Path(__file__).with_name("two_processes_failing_audit.py"), str(tmp_path), timeout=240)
    said = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert said[0].keys() == said[1].keys()
    for phase, rank in FAILURES:
        own, other = said[rank][f"{phase} {rank}"], said[1 - rank][f"{phase} {rank}"]
        assert own.startswith("ArithmeticError: no "), (phase, rank, own)
        assert other == f"OtherProcessError: process {rank}: {own}", phase
    for place in ("never", "own disk", "own disk again"):
        assert [process[place] for process in said] == ["done", "done"]
    assert [process["written"] for process in said] == [True, False]
    missing = said[1]["nowhere"]
    assert missing.startswith("FileNotFoundError") and said[0]["nowhere"] == f"OtherProcessError: process 1: {missing}"
    for place, what in {"data": "what is audited", "options": "what is audited", "weights": "the candidate"}.items():
        assert all(process[place].startswith(f"ValueError: {what} on process 1 is not that") for process in said)
    for place in ("saving", "unwritable"):
        assert "Error: " in said[0][place] and said[1][place] == f"OtherProcessError: process 0: {said[0][place]}"
    assert said[0]["saving"].startswith("ReportNotSavedError") and "output_dir" in said[0]["unwritable"]
