"""Run under torchrun by test_loop.py: hand-written loops, whose weights the main process keeps."""

import sys
from pathlib import Path

import torch
from launch import leave
from test_loop import TOGETHER, by_loop
from toys import tiny_llama


if __name__ == "__main__":
    for name, options in TOGETHER.items():
        found, _, _ = by_loop(tiny_llama(), size=4, together=2, **options)
        if torch.distributed.get_rank() == 0:
            torch.save(found, Path(sys.argv[1]) / f"{name}.pt")
    leave()
