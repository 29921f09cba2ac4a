"""Run under torchrun by test_evidence_processes.py: every process reads its share; each writes what it got and what it computed."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from accelerate import PartialState
from launch import leave
from readings import COUNT, rows

from hf_unlearn.audit import EvidenceStore
from hf_unlearn.audit import _evidence as evidence_module
from hf_unlearn.inference import gather


class SharedReading:
    """Each batch is computed by one of the processes, and everyone has it.

    Args:
        rank: Of this process.
        stop_at: Everybody fails at this item.
    """

    def __init__(self, rank: int, stop_at: int | None = None):
        self.rank, self.stop_at, self.asked = rank, stop_at, []

    def __call__(self, missing: Sequence[int]) -> Iterator[pa.Table]:
        self.asked += missing
        for start in range(0, len(missing), 4):
            if self.stop_at in missing[start : start + 4]:
                raise KeyboardInterrupt
            mine = missing[start + 2 * self.rank : start + 2 * self.rank + 2]
            yield pa.concat_tables(gather([rows(mine)] if mine else []))


def read(folder: Path, out: Path, rank: int, name: str, stop_at: int | None = None) -> None:
    reading, warned = SharedReading(rank, stop_at), []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warned.append(record.getMessage())
    logging.getLogger("hf_unlearn").addHandler(handler)
    try:
        found = EvidenceStore(folder).table("answers", "key", COUNT, reading)
        pyarrow.parquet.write_table(found, out / f"{name}-{rank}.parquet")
    except KeyboardInterrupt:
        assert stop_at is not None
    finally:
        logging.getLogger("hf_unlearn").removeHandler(handler)
    (out / f"{name}-{rank}.json").write_text(json.dumps({"asked": reading.asked, "warned": warned}))


def main(out: Path, state: PartialState) -> None:
    rank, shared = state.process_index, out / "shared"
    read(shared, out, rank, "stopped", stop_at=9)
    read(shared, out, rank, "resumed")
    state.wait_for_everyone()
    if state.is_main_process:
        os.truncate(sorted(shared.iterdir())[1], 99)
    state.wait_for_everyone()
    read(shared, out, rank, "damaged")
    read(shared, out, rank, "repaired")
    own = out / f"disk-{rank}"
    read(own, out, rank, "own-stopped", stop_at=9)
    read(own, out, rank, "own-resumed")
    assert rank == 0 or not own.exists(), "only the main process writes"


if __name__ == "__main__":
    evidence_module.SHARD_SECONDS = 0.0
    main(Path(sys.argv[1]), PartialState(cpu=True))
    leave()
