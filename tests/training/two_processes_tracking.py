"""Run under torchrun by test_tracker.py: every process writes what its tracker measured."""

import json
import sys
from pathlib import Path

from launch import leave
from test_tracker import tracked
from toys import tiny_llama


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    settings = {"reference": tiny_llama(1), "original": tiny_llama(2)}
    trainer, tracker = tracked(folder / "two", tracking=settings, model=tiny_llama(4))
    assert trainer.args.world_size == 2
    (folder / f"{trainer.args.process_index}.json").write_text(json.dumps(tracker.measure()))
    leave()
