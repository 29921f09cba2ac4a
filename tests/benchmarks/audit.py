"""A whole audit (standard metrics, four models): forward-pass tokens and seconds, beside the bare minimum and beside another version.

    python tests/benchmarks/audit.py                              # about a minute on two cores
    python tests/benchmarks/audit.py --previous /a/checkout       # the same work by another version of the library, in turn
    python tests/benchmarks/audit.py --help

The bare minimum counts, without padding: each answer (true, paraphrased, wrong) once per model; each prompt once and each drawn token once per
model; each distinct completion once under each of the two models that score it; each patched example once per layer and donor. Prompts that
several answers share are counted with each of them, so that sharing may go below it. Tokens are counted at the transformer's body, padding
included. Every audit runs in a process of its own, in turn, on the same saved models and data; values are compared.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet


ROLES = ("reference", "original", "candidate", "twin")
SETS = ("forget", "retain", "holdout")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="nano", help="Of the pocket benchmark: nano or small.")
    parser.add_argument("--max-examples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="Audits of each version, in turn.")
    parser.add_argument("--previous", type=Path, help="A checkout of another version.")
    parser.add_argument("--without", default="", help="Standard metrics to leave out of ours, by name, with commas.")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        run_audit(given.work, given.out, given.max_examples, given.without)
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare(given, Path(scratch))


def compare(given: argparse.Namespace, scratch: Path) -> None:
    """Run all sides in turn and print what each cost."""
    from hf_unlearn.audit._schema_1 import new_name

    work = scratch / "work"
    prepare(work, given.size)
    here = Path(__file__).resolve().parents[2]
    sides = {"ours": here} | ({"previous": given.previous.resolve()} if given.previous else {})
    costs: dict[str, list[dict]] = {name: [] for name in sides}
    for repeat in range(given.repeats):
        for name, checkout in sides.items():
            out = scratch / f"{name}-{repeat}"
            command = [sys.executable, __file__, "--work", str(work), "--out", str(out)]
            command += ["--max-examples", str(given.max_examples)]
            command += ["--without", given.without if name == "ours" else ""]
            environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
            subprocess.run(command, check=True, env=environment)
            costs[name].append(json.loads((out / "cost.json").read_text()))
    parts = minimum(work, scratch / "ours-0" / "evidence", given.max_examples)
    least = sum(parts.values())
    print(f"pocket {given.size}, at most {given.max_examples} examples of each set")
    print(
        "bare minimum, tokens: " + ", ".join(f"{name} {count}" for name, count in parts.items()) + f"; {least} in all"
    )
    for name, found in costs.items():
        tokens, seconds = found[0]["tokens"], statistics.median(cost["seconds"] for cost in found)
        print(
            f"{name}: {tokens} tokens ({tokens / least:.2f} times the minimum), {seconds:.2f} s (median of {len(found)})"
        )
    if given.previous:
        values = [found[0]["values"] for found in costs.values()]
        values[1] = {"/".join(new_name(key)).removesuffix("/forget"): value for key, value in values[1].items()}
        shared = [key for key in values[0] if key in values[1]]
        apart = max(abs(values[0][key] - values[1][key]) / max(1.0, abs(values[1][key])) for key in shared)
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(*costs.values(), strict=True)]
        tokens = [found[0]["tokens"] for found in costs.values()]
        print(f"ours / previous: tokens {tokens[0] / tokens[1]:.2f}, seconds {statistics.median(ratios):.2f}")
        print(
            f"{len(shared)} results of both differ by at most {apart:.1e} (relative above 1); ours has {len(values[0])}"
        )


def prepare(folder: Path, size: str) -> None:
    """Four models and three sets on disk; the candidate is unlearned with NPO."""
    from hf_unlearn._demo import CANDIDATES, _unlearn
    from hf_unlearn.data import load_pocket

    pocket = load_pocket(size)
    models = {role: getattr(pocket, role)() for role in ROLES if role != "candidate"}
    models["candidate"] = _unlearn(pocket, CANDIDATES[0], 0)
    for role, model in models.items():
        model.save_pretrained(folder / role)
        pocket.tokenizer.save_pretrained(folder / role)
    for name, rows in {"forget": pocket.forget_request, "retain": pocket.retain, "holdout": pocket.holdout}.items():
        # Which rows are about one person changes intervals only, and not every version looks at it.
        rows.remove_columns("person_id").to_json(folder / f"{name}.jsonl")


def run_audit(work: Path, out: Path, max_examples: int, without: str) -> None:
    """One audit, counted; knows nothing that another version may not have."""
    import torch
    from transformers import LlamaModel

    torch.set_num_threads(1)
    tokens = 0
    forward = LlamaModel.forward

    @functools.wraps(forward)  # what it takes decides whether prompts can be shared
    def counted(self: LlamaModel, *args: object, **named: object) -> object:
        nonlocal tokens
        given = named.get("input_ids", named.get("inputs_embeds", args[0] if args else None))
        tokens += given.shape[0] * given.shape[1]  # type: ignore[union-attr]
        return forward(self, *args, **named)

    LlamaModel.forward = counted
    from hf_unlearn import audit

    roles = {role: str(work / role) for role in ROLES}
    sets = {name: str(work / f"{name}.jsonl") for name in SETS}
    options = {}
    if without:
        from hf_unlearn.audit.metrics import METRICS

        standard = [name for name, metric in METRICS.items() if metric.from_settings({}).spec.standard]
        options["metrics"] = [name for name in standard if name not in without.split(",")]
    started = time.perf_counter()
    report = audit(
        roles.pop("candidate"), **roles, **sets, **options, output_dir=out, max_examples=max_examples, progress=False
    )
    seconds = time.perf_counter() - started
    # Keys of today, or one word as in schema 1.
    values = {key.removesuffix("/forget"): result.value for key, result in report.metrics.items()}
    (out / "cost.json").write_text(json.dumps({"tokens": tokens, "seconds": seconds, "values": values}))


def minimum(work: Path, evidence: Path, max_examples: int) -> dict[str, int]:
    """Tokens that no audit can do without, by what they are for."""
    from transformers import AutoTokenizer, LlamaConfig

    from hf_unlearn.audit.domains._causal_lm import PATCHED
    from hf_unlearn.audit.domains._text_splits import load_splits

    tokenizer = AutoTokenizer.from_pretrained(work / "reference")
    sets = {name: str(work / f"{name}.jsonl") for name in SETS}
    splits = load_splits(sets, tokenizer, max_examples, 0, False)
    answers = [example for split in splits.values() for example in split.examples]
    variants = [variant.tokens for name in ("forget", "retain") for variant in splits[name].variants]
    parts = {"answers": len(ROLES) * _lengths(answers + variants), "drawing": 0, "scoring": 0}
    for name in ("forget", "retain"):
        prompts = splits[name].prompts
        drawn = {role: _drawn(evidence, name, role) for role in ROLES}
        parts["drawing"] += sum(sum(map(len, prompts)) + sum(map(len, rows)) for rows in drawn.values())
        texts = {
            role: {(*prompts[at * len(prompts) // len(rows)], *row) for at, row in enumerate(rows)}
            for role, rows in drawn.items()
        }
        parts["scoring"] += sum(map(len, set().union(*texts.values())))  # by the reference
        for role in ROLES[1:]:
            parts["scoring"] += sum(map(len, texts[role] | texts["reference"]))
    layers = LlamaConfig.from_pretrained(work / "reference").num_hidden_layers
    patched = splits["forget"].examples[:PATCHED]
    parts["patching"] = (len(ROLES) - 1) * layers * _lengths(patched)
    return parts


def _lengths(examples: Iterable[dict]) -> int:
    """Of distinct texts."""
    return sum(map(len, {tuple(example["input_ids"]) for example in examples}))


def _drawn(evidence: Path, split: str, role: str) -> list[list[int]]:
    tables = [pyarrow.parquet.read_table(path) for path in evidence.glob(f"samples-{split}-{role}-*.parquet")]
    rows = {
        item: ids
        for table in tables
        for item, ids in zip(table["item"].to_pylist(), table["token_ids"].to_pylist(), strict=True)
    }
    return [rows[item] for item in sorted(rows)]


if __name__ == "__main__":
    main()
