"""Run by test_audit_kills.py: a whole audit that is killed again and again inside its readings, by a process that has imported everything once.

Every table is a shard here, and a line is written when its shard has been, so that what was finished is known whatever the moment.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_audits import Noisy, arguments

from hf_unlearn.audit import _completion_reading, audit
from hf_unlearn.audit import _evidence as evidence_module
from hf_unlearn.audit.domains import _answer_reading, _causal_lm
from hf_unlearn.inference import _rounds


READINGS = (
    (_answer_reading, "answer_tables"),
    (_causal_lm, "patching_tables"),
    (_completion_reading, "sample_tables"),
    (_completion_reading, "score_tables"),
)


def watched(real: Callable, log: Path, left: list[int]) -> Callable:
    """The reading, which is killed before it gives so many more tables."""

    def tables(*args: Any, label: str, **settings: Any):
        for table in real(*args, label=label, **settings):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            yield table
            with log.open("a") as file:
                places = [
                    table.column(name).to_pylist() for name in ("item", "sampled_from") if name in table.column_names
                ]
                file.writelines(f"{label} {' '.join(map(str, place))}\n" for place in zip(*places, strict=True))

    return tables


def run(folder: Path, after: int) -> bool:
    """One run in a process of its own; whether it came to its end."""
    child = os.fork()
    if child == 0:
        _rounds.ROUND, evidence_module.SHARD_SECONDS = 8, 0.0
        left = [after]
        for module, name in READINGS:
            setattr(module, name, watched(getattr(module, name), folder.parent / "items.log", left))
        audit(
            **arguments(metrics=["probability", "fade", "unlearning_depth_score", "cka"], holdout=None, batch_size=2),
            conditions=[Noisy(metrics=("probability", "fade"))],
            output_dir=folder,
        )
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def main(folder: Path, moments: list[int]) -> None:
    ended = [run(folder / "resumed" / "audit", after) for after in [*moments, -1]]
    run(folder / "whole" / "audit", -1)
    print(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(moment) for moment in sys.argv[2:]])
