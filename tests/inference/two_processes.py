"""Run under torchrun by test_distributed.py: sample, score and measure; every process writes what it got."""

import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import torch
from accelerate import PartialState
from launch import leave
from toys import tiny_llama

from hf_unlearn.audit import EvidenceStore, measure_fade
from hf_unlearn.inference import (
    FeatureSettings,
    _rounds,
    answer_tables,
    cross_score,
    gradient_tables,
    greedy_tables,
    patching_tables,
    sample_completions,
    sample_tables,
    score_tables,
)


def measure_tables(path: Path, models: dict, prompts: list, completions) -> None:
    """Every reading in small rounds; in the order of the items, since that of the tables is free."""
    _rounds.ROUND = 8
    examples = [
        {"input_ids": [*prompt, 3, 4], "labels": [-100] * len(prompt) + [3, 4]} for prompt in [*prompts, prompts[0]]
    ]
    options = {"batch_size": 2, "progress": False}
    pair = (models["reference"], models["candidate"])
    found = {
        "answers": answer_tables(pair[0], examples, features=FeatureSettings(), lens=range(3), **options),
        "samples": sample_tables(pair[0], prompts, num_samples=2, max_new_tokens=6, stop_token_ids=[2], **options),
        "greedy": greedy_tables(pair[0], [*prompts, prompts[0]], max_new_tokens=6, stop_token_ids=[2], **options),
        "scores": score_tables(completions, sampled_from="reference", models=models, **options),
        "patching": patching_tables(*pair, examples, **options),
        "gradients": gradient_tables(pair[0], examples, progress=False),
    }
    tables = {name: list(parts) for name, parts in found.items()}
    counts = {name: len(parts) for name, parts in tables.items()}
    whole = {name: pyarrow.concat_tables(parts).sort_by("item").to_pylist() for name, parts in tables.items()}
    path.write_text(json.dumps({"counts": counts, "rows": whole}))


def measure(folder: Path, name: str) -> None:
    prompts = [[1, token, *range(5, 5 + token % 4)] for token in range(3, 10)]
    models = {"reference": tiny_llama(0), "candidate": tiny_llama(1)}
    # 7 prompts in batches of one: uneven between two processes.
    completions = sample_completions(
        models["reference"], prompts, num_samples=2, max_new_tokens=6, batch_size=2, progress=False
    )
    rows = cross_score(completions, sampled_from="reference", models=models, batch_size=3, progress=False)
    measure_tables(folder / f"{name}.json", models, prompts, completions)
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
