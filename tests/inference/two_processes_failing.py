"""Run under torchrun by test_sharding.py: one process fails, and both write what they were told."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from launch import leave

from hf_unlearn.inference import agreed, dealt, join_processes, together
from hf_unlearn.inference._sharding import gather, process_rank


def work(failing: tuple[int, ...], when: str) -> list[int]:
    """Two rounds of results, with a failure before, between or after them."""

    def perhaps(now: str) -> None:
        if when in (now, "both") and process_rank() in failing:
            raise ValueError(when)

    perhaps("before")
    first = gather([process_rank()])
    perhaps("between")
    second = gather([process_rank()])
    perhaps("after")
    return first + second


def told(failing: tuple[int, ...], when: str) -> object:
    return told_by(lambda: work(failing, when))


def told_by(call: Callable[[], object]) -> object:
    try:
        return together(call)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    join_processes()
    found = {f"{when} {rank}": told((rank,), when) for rank in (0, 1) for when in ("before", "between", "after")}
    nested = [told_by(lambda: together(lambda: work((1,), "between"))), told((), "never")]

    def tenfold(refused: int) -> dict[int, int]:
        return dealt(range(5), lambda item: 10 * item if item != refused else int("no number"))

    found |= {
        "dealt": [told_by(lambda: tenfold(5)), told_by(lambda: tenfold(3)), told((), "never")],
        "nested": nested,
        "both": told((0, 1), "both"),
        "whole": told((), "never"),
        "agreed": agreed(process_rank()),
    }
    (Path(sys.argv[1]) / f"{process_rank()}.json").write_text(json.dumps(found))
    leave()
