"""Run under torchrun by test_tracker.py: every process writes what its tracker measured, and how failures on one process ended."""

import json
import sys
from pathlib import Path

from launch import leave
from test_tracker import file_lines, tracked
from torch.distributed import get_rank
from toys import tiny_llama


def measured(folder: Path) -> dict[str, float]:
    settings = {"reference": tiny_llama(1), "original": tiny_llama(2)}
    trainer, tracker = tracked(folder / "two", tracking=settings, model=tiny_llama(4))
    assert trainer.args.world_size == 2
    return tracker.measure()


def trained_with_failures(folder: Path, rank: int) -> dict[str, object]:
    """A scorer that breaks on one process between the others' results, a probe that breaks, one that sees another thing, a condition."""

    def odd(model: object) -> dict[str, float]:
        return {"rank": float(rank)}

    def broken(model: object) -> dict[str, float]:
        return {"broken": 1 / (1 - rank)}

    def stop(values: dict[str, float]) -> bool:
        return rank == 0  # the other one would go on, and wait for ever

    settings = {"probes": [odd, broken], "every_n_steps": 1, "stop_when": stop, "reference": tiny_llama(1)}
    trainer, tracker = tracked(folder / "failing", tracking=settings)
    domain = tracker._metrics.domain
    real = domain._reader

    def reader(*arguments: object) -> object:
        if rank == 1 and trainer.state.global_step == 1:
            raise RuntimeError("no memory")
        return real(*arguments)

    domain._reader = reader
    trainer.train()
    return {
        "steps": trainer.state.global_step,
        "failed": sorted(tracker._failed),
        "values": tracker._tracked,
        "logged": [sorted(log) for log in trainer.state.log_history],
        "lines": len(file_lines(folder / "failing")),
    }


def ended_by_one(folder: Path, rank: int) -> str:
    def broken(model: object) -> dict[str, float]:
        return {"broken": 1 / (1 - rank)}

    trainer, _ = tracked(folder / "strict", tracking={"probes": [broken], "strict": True})
    try:
        trainer.train()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "trained"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found: dict[str, object] = {"measured": measured(folder)}
    found |= {"failing": trained_with_failures(folder, get_rank()), "strict": ended_by_one(folder, get_rank())}
    (folder / f"{get_rank()}.json").write_text(json.dumps(found))
    leave()
