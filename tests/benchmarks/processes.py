"""One audit by one process and by two, one thread each: seconds, what each process computed, and where the time went.

    python tests/benchmarks/processes.py                     # some minutes on two cores
    python tests/benchmarks/processes.py --help

Both do the same work on the same saved models and data (random Llamas that differ a little, random token ids), in turn; the start of Python and
the import of libraries are not counted. Seconds need idle cores: what others do on the machine counts. Processor seconds do not: the
work of one process beside the most that one of two has to do; what they wait for each other is shown beside. Numbers of both are compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


ROLES = ("candidate", "reference", "original", "twin")
VOCABULARY = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument(
        "--answers", type=int, default=100, help="Of the forget and of the retain set; half as many of the holdout."
    )
    parser.add_argument("--repeats", type=int, default=3, help="Audits by one and by two processes, in turn.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        run_audit(given.work, given.out)
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare(given, Path(scratch))


def compare(given: argparse.Namespace, scratch: Path) -> None:
    """Audit in turn with one and with several processes, and print the ratios."""
    work = scratch / "work"
    prepare(work, given.width, given.layers, given.answers)
    costs: dict[int, list[list[dict[str, Any]]]] = {1: [], given.processes: []}
    for repeat in range(given.repeats):
        for count in costs:
            out = scratch / f"{count}-{repeat}"
            out.mkdir()
            launch(count, "--work", str(work), "--out", str(out))
            costs[count].append([json.loads((out / f"{rank}.json").read_text()) for rank in range(count)])
    one, more = (costs[count] for count in costs)
    print(
        f"Llama of width {given.width}, {given.layers} layers; {given.answers} forget and retain answers each; medians of {given.repeats}"
    )
    print("| processes | seconds | processor seconds, each process | waiting | reading | measuring |")
    print("|---|---|---|---|---|---|")
    for count, runs in costs.items():
        wall = statistics.median(max(each["seconds"] for each in run) for run in runs)
        parts = [
            " ".join(f"{statistics.median(run[rank][part] for run in runs):.2f}" for rank in range(count))
            for part in ("processor", "waiting", "reading", "measuring")
        ]
        print(f"| {count} | {wall:.2f} | {' | '.join(parts)} |")
    pairs = list(zip(one, more, strict=True))
    walls = [a[0]["seconds"] / max(each["seconds"] for each in b) for a, b in pairs]
    works = [a[0]["processor"] / max(each["processor"] for each in b) for a, b in pairs]
    print(f"one / {given.processes}: seconds {_shown(walls)}, processor seconds {_shown(works)}")
    apart = [
        abs(a[0]["values"][key] - value) / max(1.0, abs(value))
        for a, b in pairs
        for key, value in b[0]["values"].items()
    ]
    print(f"{len(one[0][0]['values'])} results of both differ by at most {max(apart):.1e} (relative above 1)")


def _shown(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def launch(count: int, *arguments: str) -> None:
    """This script in so many processes of one thread."""
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    program = [__file__]
    if count > 1:
        program = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count), __file__]
    subprocess.run([sys.executable, *program, *arguments], check=True, env=environment)


def prepare(folder: Path, width: int, layers: int, answers: int) -> None:
    """Models that differ a little, as fine-tuned from one, and three sets of token ids, on disk."""
    import numpy as np
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {"<unk>": 0, **{f"w{number}": number for number in range(1, VOCABULARY)}}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")), unk_token="<unk>"
    )
    torch.manual_seed(0)
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
    }
    model = LlamaForCausalLM(
        LlamaConfig(**settings, num_attention_heads=width // 32, max_position_embeddings=256, eos_token_id=2)
    )
    for role, far in {"reference": 0.0, "candidate": 0.1, "twin": 0.1, "original": 0.3}.items():
        with torch.no_grad():
            for weights in model.parameters():
                weights += far * weights.std(correction=0) * torch.randn_like(weights)
        model.save_pretrained(folder / role)
        tokenizer.save_pretrained(folder / role)
    generator = np.random.default_rng(0)
    for name, count in {"forget": answers, "retain": answers, "holdout": answers // 2}.items():
        rows = []
        for _ in range(count):
            prompt = generator.integers(3, VOCABULARY, generator.integers(8, 25)).tolist()
            answer = generator.integers(3, VOCABULARY, generator.integers(6, 49)).tolist()
            rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
        Dataset.from_list(rows).save_to_disk(folder / name)


def run_audit(work: Path, out: Path) -> None:
    """One audit, or one process's part in it, and where its time went."""
    import torch
    from datasets import load_from_disk

    torch.set_num_threads(1)
    from transformers import LlamaForCausalLM  # noqa: F401 - imported when it is first used otherwise

    from hf_unlearn.audit import _audit, _engine, audit
    from hf_unlearn.inference import _sharding
    from hf_unlearn.inference._sharding import process_rank

    _sharding.join_processes()
    waiting = timed(_sharding, "gather_object")
    reading = timed(_engine.Engine, "_reading")
    measuring = timed(_audit, "measure")
    roles = {role: str(work / role) for role in ROLES}
    sets = {name: load_from_disk(work / name) for name in ("forget", "retain", "holdout")}
    processor, started = time.process_time(), time.perf_counter()
    report = audit(
        roles.pop("candidate"), **roles, **sets, output_dir=out / "audit", max_new_tokens=32, progress=False
    )
    found = {
        "seconds": time.perf_counter() - started,
        "processor": time.process_time() - processor,
        "waiting": waiting[0],
        "reading": reading[0],
        "measuring": measuring[0],
        "values": {key: result.value for key, result in report.metrics.items()},
    }
    (out / f"{process_rank()}.json").write_text(json.dumps(found))


def timed(holder: Any, name: str) -> list[float]:
    """The seconds spent in a function from now on."""
    real: Callable[..., Any] = getattr(holder, name)
    total = [0.0]

    def run(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return real(*args, **kwargs)
        finally:
            total[0] += time.perf_counter() - started

    setattr(holder, name, run)
    return total


if __name__ == "__main__":
    main()
