"""Run by test_evidence_kills.py: a reading that is killed again and again, by a process that has imported everything once.

The clock of the store counts items here, so that what a kill may cost is a number of items, however busy the machine is.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from readings import rows

from hf_unlearn.audit import EvidenceStore
from hf_unlearn.audit import _evidence as evidence_module
from hf_unlearn.audit._shards import ShardError, Shelf, items_of, storage


COUNT, BATCH, DUE = 600, 2, 5
LABEL, KEY = "answers-forget-candidate", "key"


class SlowReading:
    """Says on a pipe when it begins, and writes down every item that it has computed.

    Args:
        log: One line per item.
        begun: File descriptor.
    """

    def __init__(self, log: Path, begun: int):
        self.log, self.begun, self.computed = log, begun, 0

    def __call__(self, missing: Sequence[int]) -> Iterator[pa.Table]:
        os.write(self.begun, b".")
        with self.log.open("w", buffering=1) as log:
            for start in range(0, len(missing), BATCH):
                items = list(missing[start : start + BATCH])
                time.sleep(0.005 * len(items))
                log.writelines(f"{item}\n" for item in items)
                self.computed += len(items)
                yield rows(items)


def kept(folder: Path) -> list[int]:
    """The items of all shards on the disk, as a reader finds them."""
    shelf, found = Shelf(*storage(folder), LABEL, KEY), []
    for name in shelf.names():
        try:
            found += items_of(shelf.read(name)).tolist()
        except ShardError as error:
            raise AssertionError(f"a kill left {name}: {error}") from error
    return sorted(found)


def killed(folder: Path, log: Path, *, after: float | None) -> None:
    """One run: killed from outside after so many seconds of reading, or by itself while a shard is written."""
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        if after is None:
            os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        reading = SlowReading(log, say)
        evidence_module.time = type("Clock", (), {"monotonic": staticmethod(lambda: reading.computed)})
        evidence_module.SHARD_SECONDS = DUE
        EvidenceStore(folder).table(LABEL, KEY, COUNT, reading)
        os._exit(0)
    os.read(hear, 1)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "it ended before it was killed"


def main(folder: Path, seed: int) -> None:
    moments: list[float | None] = [random.Random(seed).uniform(0, 0.25) for _ in range(10)]
    story: list[dict[str, list[int]]] = []
    before: list[int] = []
    for number, moment in enumerate([*moments, None]):
        log = folder.parent / f"{number}.log"
        killed(folder, log, after=moment)
        computed = [int(line) for line in log.read_text().split()] if log.exists() else []
        after = kept(folder)
        story.append({"before": before, "computed": computed, "after": after})
        before = after
    print(json.dumps(story))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
