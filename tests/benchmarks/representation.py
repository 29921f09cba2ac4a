"""Hidden states of three models into moments: wall time beside the plain forward passes, and memory at ten times the data.

    python tests/benchmarks/representation.py            # about three minutes on two cores
    python tests/benchmarks/representation.py --help

The plain passes are the same models on the same batches with `output_hidden_states=True`, one after the other, and nothing else. Both sides run
in this process, in turn, the better of the repeats counts; memory is the peak of a process that does only that. The answer is checked against
moments of features taken from the plain passes.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hf_unlearn.functional import PairedMoments, layer_metrics
from hf_unlearn.inference import FeatureSettings, representation_moments
from hf_unlearn.inference._batching import batches
from hf_unlearn.inference._features import collate


BATCH = 32


def models(width: int, layers: int) -> dict[str, LlamaForCausalLM]:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4000,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    first = LlamaForCausalLM(config).eval()
    found = {"reference": first}
    for name in ("candidate", "original"):
        other = LlamaForCausalLM(config).eval()
        other.load_state_dict(first.state_dict())
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(0.005 * torch.randn_like(parameter))
        found[name] = other
    return found


class Examples(Sequence):
    """Made when asked for, as rows of a data set on disk are: memory is that of the measured work, not of the texts."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        generator = np.random.default_rng(index)
        ids = generator.integers(0, 4000, int(generator.integers(24, 97))).tolist()
        return {"input_ids": ids, "labels": [-100] * 16 + ids[16:]}


def ours(found: dict[str, LlamaForCausalLM], rows: Sequence) -> dict[int, PairedMoments]:
    return representation_moments(found, rows, FeatureSettings(batch_size=BATCH), progress=False).moments


@torch.no_grad()
def plain(found: dict[str, LlamaForCausalLM], rows: Sequence) -> None:
    for batch in batches([len(row["input_ids"]) for row in rows], BATCH):
        inputs, _ = collate([rows[index] for index in batch])
        for model in found.values():
            model.model(**inputs, output_hidden_states=True, use_cache=False)


@torch.no_grad()
def difference(found: dict[str, LlamaForCausalLM], rows: Sequence) -> float:
    """Largest difference of any metric at layer 1 from one taken by hand, one example at a time."""
    features = {}
    for name, model in found.items():
        hidden = [
            model.model(torch.tensor([row["input_ids"]]), output_hidden_states=True).hidden_states[1] for row in rows
        ]
        features[name] = np.stack([state[0, 16:].double().mean(0).numpy() for state in hidden])
    by_hand = layer_metrics(PairedMoments.from_rows(features)).values
    streamed = layer_metrics(ours(found, rows)[1]).values
    return max(abs(streamed[name] - value) for name, value in by_hand.items() if value is not None)


def resident_mib(field: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(status[field].split()[0]) / 1024


def peak_mib(arguments: argparse.Namespace, count: int, *flags: str) -> float:
    """Of a process in which freed blocks go back at once: glibc keeps them otherwise, more of them the longer a process
    runs (the plain passes grow by 5 % too), and its habits are not what is measured."""
    command = [sys.executable, __file__, "--only", str(count), "--width", str(arguments.width)]
    command += ["--layers", str(arguments.layers), *flags]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = models(arguments.width, arguments.layers)
    if arguments.only:
        (plain if arguments.plain else ours)(found, Examples(arguments.only))
        print(resident_mib("VmHWM"))
        return
    rows = Examples(arguments.examples)
    print(f"{len(rows)} examples, {arguments.layers} layers of width {arguments.width}, three models, one thread")
    print(
        f"largest difference of a metric from one taken by hand: {difference(found, [rows[index] for index in range(40)]):.1e}"
    )
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for repeat in range(arguments.repeats + 1):
        for name, way in (("ours", ours), ("plain", plain)):
            start = time.perf_counter()
            way(found, rows)
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    best = {name: min(values) for name, values in seconds.items()}
    print(f"moments {best['ours']:.2f} s, plain forward passes {best['plain']:.2f} s")
    print(f"ours / plain forward passes: {best['ours'] / best['plain']:.2f}")
    for name, flags in (("ours", ()), ("plain", ("--plain",))):
        few, many = (peak_mib(arguments, count, *flags) for count in (arguments.examples, 10 * arguments.examples))
        print(f"{name}: peak resident memory {few:.0f} MiB, with ten times the data {many:.0f} MiB: {many / few:.3f}")


if __name__ == "__main__":
    main()
