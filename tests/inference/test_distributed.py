import json
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from launch import torchrun
from two_processes import measure


@pytest.mark.distributed
def test_two_processes_give_the_rows_of_one(tmp_path: Path):

    measure(tmp_path, "one")
    alone = json.loads((tmp_path / "one.json").read_text())
    torchrun(Path(__file__).parent / "two_processes.py", str(tmp_path))
    for rank in (0, 1):
        assert torch.equal(torch.load(tmp_path / "one.pt"), torch.load(tmp_path / f"two-{rank}.pt"))
        one, two = (pyarrow.parquet.read_table(tmp_path / f"{name}.parquet") for name in ("one", f"two-{rank}"))
        assert one.equals(two)
        shared = json.loads((tmp_path / f"two-{rank}.json").read_text())
        assert shared["rows"] == alone["rows"]
        assert all(1 < count <= alone["counts"][name] for name, count in shared["counts"].items())
        assert (tmp_path / "one.txt").read_text() == (tmp_path / f"two-{rank}.txt").read_text()
    tables = [pyarrow.parquet.read_table(path) for path in (tmp_path / "evidence" / "two").iterdir()]
    # Samples and scores of both models, each once; in how many shards depends on how busy the machine is.
    assert sum(map(len, tables)) == 2 * 7 * 8 + 2 * 7 * 8
