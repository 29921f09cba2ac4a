"""SIGKILL inside the readings of a whole audit: the resumed report is that of an audit that was left alone, and nothing finished is done twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "moments", [(2, 9, 15), pytest.param((1, 3, 5, 7, 8, 10, 12, 13, 16, 20), marks=pytest.mark.slow)]
)
def test_an_audit_that_is_killed_resumes_inside_its_readings(moments: tuple[int, ...], tmp_path: Path):
    script = Path(__file__).with_name("killed_audits.py")
    command = [sys.executable, str(script), str(tmp_path), *map(str, moments)]
    path = os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [False] * len(moments) + [True]
    resumed, whole = (
        json.loads((tmp_path / name / "audit" / "report.json").read_text()) for name in ("resumed", "whole")
    )
    assert resumed.pop("created") and whole.pop("created")
    assert resumed == whole
    items, expected = ((tmp_path / name / "items.log").read_text().splitlines() for name in ("resumed", "whole"))
    assert len(set(items)) == len(items) and sorted(items) == sorted(expected)
