"""A whole audit under two processes is that of one, number by number, and everyone gets it."""

from pathlib import Path

import pytest
from launch import torchrun
from small_audits import Noisy, arguments, numbers

from hf_unlearn.audit import AuditReport, audit


@pytest.mark.distributed
def test_two_processes_report_what_one_does(tmp_path: Path):
    torchrun(Path(__file__).with_name("two_processes_audit.py"), str(tmp_path), timeout=240)
    first, second = (AuditReport.from_json((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    alone = audit(**arguments(batch_size=3), conditions=[Noisy()])
    assert first.metrics == second.metrics == AuditReport.load(tmp_path / "audit").metrics
    found, expected = numbers(first), numbers(alone)
    assert found.keys() == expected.keys() and len(found) > 500
    for place, value in expected.items():
        assert found[place] == pytest.approx(value, rel=1e-9, abs=1e-9), place
    assert first.notes == alone.notes and first.findings == alone.findings
