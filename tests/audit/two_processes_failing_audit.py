"""Run under torchrun by test_audit_processes.py: in every phase of an audit one process fails; all write how it ended for them."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launch import leave
from small_audits import arguments, token_rows

from hf_unlearn.audit import AuditReport, _audit, _subjects, audit
from hf_unlearn.inference import _answers, _patching, _sampling, _scoring
from hf_unlearn.inference._sharding import process_rank


PHASES = {
    "opening": (_subjects, "model_fingerprint", 1),
    "answers": (_answers, "token_statistics", 3),
    "sampling": (_sampling, "_generate", 1),
    "scoring": (_scoring, "_score_batch", 2),
    "patching": (_patching, "_patch_batch", 1),
    "metrics": (_audit, "measure", 2),
}
"""Where something fails, and after how many calls."""
FAILURES = [*((phase, 1) for phase in PHASES), ("answers", 0), ("metrics", 0)]
"""And on which process."""


@contextmanager
def failing(holder: Any, name: str, after: int, rank: int) -> Iterator[None]:
    """Inside, a function fails on one process after so many calls."""
    real, left = getattr(holder, name), [after]

    def fails(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0 and process_rank() == rank:
            raise ArithmeticError(f"no {name} here")
        return real(*args, **kwargs)

    setattr(holder, name, fails)
    try:
        yield
    finally:
        setattr(holder, name, real)


def told_by(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def main(folder: Path) -> None:
    given = arguments(batch_size=4, metrics=["probability", "fade", "unlearning_depth_score"], holdout=None, twin=None)
    found = {"never": told_by(lambda: audit(**given))}  # without Accelerate: the audit itself joins the processes
    mine = process_rank()
    for phase, rank in FAILURES:
        with failing(*PHASES[phase], rank):
            found[f"{phase} {rank}"] = told_by(lambda: audit(**given))
    nowhere = given | {"candidate": str(folder / f"nothing-{mine}") if mine else given["candidate"]}
    found["nowhere"] = told_by(lambda: audit(**nowhere))
    found["data"] = told_by(lambda: audit(**given | {"forget": token_rows(1 + 2 * mine)}))
    found["options"] = told_by(lambda: audit(**given | {"batch_size": 2 + mine}))
    found["weights"] = told_by(
        lambda: audit(**given | {"candidate": given["original" if mine else "candidate"], "original": None})
    )
    AuditReport.save, save = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")), AuditReport.save
    found["saving"] = told_by(lambda: audit(**given, output_dir=folder / "full"))
    AuditReport.save = save
    own = folder / f"disk-{mine}"
    found["own disk"] = told_by(lambda: audit(**given, output_dir=own))
    found["own disk again"] = told_by(lambda: audit(**given, output_dir=own))
    found["written"] = own.exists()
    (folder / "file").touch()
    found["unwritable"] = told_by(lambda: audit(**given, output_dir=folder / "file" if mine == 0 else folder / "fine"))
    (folder / f"{mine}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave()
