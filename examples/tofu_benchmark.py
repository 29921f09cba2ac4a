"""TOFU as the field runs it, in one call: all sets, all metrics, the published models to compare with; here a candidate of one's own.

    python examples/tofu_benchmark.py --candidate me/unlearned --base-model Llama-3.2-1B-Instruct --benchmark tofu:forget10
    python examples/tofu_benchmark.py --candidate me/unlearned --reference me/retain90 --data path/to/folder   # a local copy of the data
    python examples/tofu_benchmark.py --data path/to/folder --smoke                          # seconds: random small models, a few rows

The same on the command line: `hf-unlearn audit --benchmark tofu:forget10 --base-model Llama-3.2-1B-Instruct --candidate me/unlearned
--output-dir tofu-audit`.
"""

import argparse
import tempfile
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hf_unlearn import AuditReport
from hf_unlearn.benchmarks import load_benchmark
from hf_unlearn.data import pocket_tokenizer


def main() -> AuditReport:
    arguments = parse()
    benchmark = load_benchmark(arguments.benchmark, data=arguments.data, base_model=arguments.base_model)
    for name, found in benchmark.sets.items():
        print(f"{name}: {len(found.data)} rows, {found.role}, {', '.join(found.metrics or ('all metrics',))}")
    for name, why in benchmark.absent.items():
        print(f"no {name}: {why}")
    given: dict[str, Any] = {"output_dir": arguments.output_dir}
    given |= {"reference": arguments.reference} if arguments.reference else {}
    if arguments.smoke:
        given |= smoke()
    report = benchmark.audit(given.pop("candidate", arguments.candidate), **given)
    for key, result in benchmark.headline(report).items():
        print(f"{key}: {result.value:.4g} {result.confidence_interval or ''} {result.details}")
    print("\n".join([*report.reading(), *(f"note: {note}" for note in report.notes)]))
    print(f"{len(report.metrics)} results in {arguments.output_dir}")
    return report


def smoke() -> dict[str, Any]:
    """Random models of one base, and so few rows that the numbers mean nothing."""
    tokenizer = pocket_tokenizer()
    base = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=2048, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    models = {}
    for seed, role in enumerate(("candidate", "reference", "original")):
        torch.manual_seed(seed)
        models[role] = LlamaForCausalLM(base).eval()
    few = {"max_examples": 6, "max_new_tokens": 8, "num_samples": 1, "num_resamples": 20}
    return {**models, **few, "processing_class": tokenizer, "progress": False}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", default="tofu:forget10", help="as hf-unlearn benchmarks lists them")
    parser.add_argument("--candidate", help="the unlearned model: path or Hub id")
    parser.add_argument(
        "--base-model", help="what it was made from: its published models are the reference and the original"
    )
    parser.add_argument("--reference", help="a retrained model of your own instead")
    parser.add_argument("--data", help="a folder with the benchmark's files instead of the Hub")
    parser.add_argument("--output-dir", default="tofu-audit")
    parser.add_argument(
        "--smoke", action="store_true", help="random models and a few rows, to see that everything runs"
    )
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.output_dir = tempfile.mkdtemp()
    elif not arguments.candidate:
        parser.error("--candidate is needed")
    return arguments


if __name__ == "__main__":
    main()
