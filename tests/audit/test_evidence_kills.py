"""SIGKILL inside a reading: what stood in finished shards is never computed again, and at most one shard's work is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from killed_readings import BATCH, COUNT, DUE, KEY, LABEL
from readings import Reading, never, rows

from hf_unlearn.audit import EvidenceStore


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_killed_at_ten_moments_and_while_writing(seed: int, tmp_path: Path):
    folder = tmp_path / "evidence"
    script = Path(__file__).with_name("killed_readings.py")
    command = [sys.executable, str(script), str(folder), str(seed)]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout.splitlines()[-1])
    assert len(story) == 11
    for run in story:
        assert not set(run["before"]) & set(run["computed"])
        assert set(run["before"]) <= set(run["after"]) <= set(run["before"]) | set(run["computed"])
        assert len(set(run["after"])) == len(run["after"])
        lost = set(run["computed"]) - set(run["after"])
        assert len(lost) < max(DUE, len(run["computed"]) / 50) + BATCH
    assert len(story[-1]["before"]) > COUNT / 10 and story[-1]["after"] == story[-1]["before"]
    rest = Reading(batch=50)
    assert EvidenceStore(folder).table(LABEL, KEY, COUNT, rest) == rows(range(COUNT))
    assert not set(rest.computed) & set(story[-1]["after"])
    assert EvidenceStore(folder).table(LABEL, KEY, COUNT, never) == rows(range(COUNT))
