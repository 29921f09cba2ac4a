"""Evidence under two processes: everyone has the same rows, computes the same items, and only the main one writes."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest
from launch import torchrun
from readings import COUNT, rows


@pytest.mark.distributed
def test_two_processes_keep_and_share_the_rows_of_one(tmp_path: Path):
    """Also where one of them looks at another disk, which has nothing on it."""
    torchrun(Path(__file__).with_name("two_processes_evidence.py"), str(tmp_path), timeout=120)
    asked = {
        "stopped": list(range(COUNT)),
        "resumed": list(range(8, COUNT)),
        "damaged": [4, 5, 6, 7],
        "repaired": [],
        "own-stopped": list(range(COUNT)),
        "own-resumed": list(range(8, COUNT)),
    }
    for name, expected in asked.items():
        said = [json.loads((tmp_path / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
        assert [process["asked"] for process in said] == [expected] * 2, name
        assert [len(process["warned"]) for process in said] == [name == "damaged", 0], said
        if not name.endswith("stopped"):
            found = [pyarrow.parquet.read_table(tmp_path / f"{name}-{rank}.parquet") for rank in (0, 1)]
            assert found[0] == found[1] == rows(range(COUNT)), name
