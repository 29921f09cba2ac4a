"""Run under torchrun by test_distributed.py: sample, score and measure; every process writes what it got."""

import sys
from pathlib import Path

import pyarrow.parquet
import torch
from accelerate import PartialState
from launch import leave
from toys import tiny_llama

from hf_unlearn.audit import EvidenceStore, measure_fade
from hf_unlearn.inference import cross_score, sample_completions


def measure(folder: Path, name: str) -> None:
    prompts = [[1, token, *range(5, 5 + token % 4)] for token in range(3, 10)]
    models = {"reference": tiny_llama(0), "candidate": tiny_llama(1)}
    # 7 prompts in batches of one: uneven between two processes.
    completions = sample_completions(
        models["reference"], prompts, num_samples=2, max_new_tokens=6, batch_size=2, progress=False
    )
    rows = cross_score(completions, sampled_from="reference", models=models, batch_size=3, progress=False)
    pyarrow.parquet.write_table(rows.table, folder / f"{name}.parquet")
    torch.save(completions.token_ids, folder / f"{name}.pt")
    result = measure_fade(
        prompts=prompts,
        **models,
        max_new_tokens=6,
        progress=False,
        store=EvidenceStore(folder / "evidence" / name[:3]),
    )
    (folder / f"{name}.txt").write_text(repr(result.to_dict()))


if __name__ == "__main__":
    state = PartialState(cpu=True)
    assert state.num_processes == 2, state
    measure(Path(sys.argv[1]), f"two-{state.process_index}")
    leave()
