"""Step time and peak memory of every objective beside a plain SFT step with the same number of tokens.

    python tests/benchmarks/training_step.py            # about four minutes on two cores
    python tests/benchmarks/training_step.py --help

A step of an objective reads a retain batch and a forget batch; the SFT step reads one batch of both (and for objectives with alternative
answers a third part). All run in this process in turn, one thread, on the same rows; memory is the peak of a process that does only that,
above one that has only built the model.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toys import word_tokenizer

from hf_unlearn import OBJECTIVES, UnlearningCallback
from hf_unlearn.data import AnswerCollator


LENGTH, BATCH, STEPS = 48, 8, 6
RETAIN = {"rmu": "hidden"}


def model(lora: bool) -> torch.nn.Module:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4000, hidden_size=384, intermediate_size=1152, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=6, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    plain = LlamaForCausalLM(config)
    if not lora:
        return plain
    return get_peft_model(plain, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))


def rows(count: int, seed: int) -> Dataset:
    """Prompts of half the length, all sequences equally long, so that tokens are counted easily."""
    ids = np.random.default_rng(seed).integers(3, 4000, (count, LENGTH)).tolist()
    half = LENGTH // 2
    return Dataset.from_dict({"input_ids": ids, "labels": [[-100] * half + row[half:] for row in ids]})


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.starts.append(time.perf_counter())

    on_train_end = on_step_begin

    def seconds(self) -> float:
        return statistics.median(np.diff(self.starts)[1:])  # the first step warms up


def run(name: str, lora: bool) -> float:
    """Median seconds per step; "sft" is the plain one on as many tokens (both batches in one)."""
    clock = Clock()
    size = 2 * BATCH if name == "sft" else BATCH
    retain = rows(4 * BATCH, 1)
    if name == "sft":
        retain = Dataset.from_list([*retain, *rows(4 * BATCH, 2)])
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model(lora),
            args=TrainingArguments(
                folder, max_steps=STEPS, per_device_train_batch_size=size, report_to="none", save_strategy="no",
                logging_strategy="no", disable_tqdm=True, use_cpu=True, optim="sgd", learning_rate=1e-4,
            ),
            train_dataset=retain,
            data_collator=AnswerCollator(0),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        if name not in ("sft", "built"):
            forget = rows(2 * BATCH, 2).add_column(
                "alternative_answer", [" ".join(["w1"] * (LENGTH // 2 - 1))] * (2 * BATCH)
            )
            forget = forget.add_column("counterfactual_question", [["w1", "w1 w1"]] * (2 * BATCH))
            base = "grad_ascent" if name == "grad_diff" else name
            callback = UnlearningCallback(
                trainer, forget_dataset=forget, objective=base, retain_term=RETAIN.get(name, "nll"),
                processing_class=word_tokenizer("w1"), forget_weight=1e-3,
            )  # fmt: skip
            trainer.add_callback(callback)
        trainer.add_callback(clock)
        if name == "built":
            return 0.0
        trainer.train()
    return float(clock.seconds())


def peak_mib(name: str, lora: bool) -> float:
    flags = ["--only", name] + (["--lora"] if lora else [])
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    done = subprocess.run(
        [sys.executable, __file__, *flags], check=True, capture_output=True, text=True, env=environment
    )
    return float(done.stdout.split()[-1])


def resident_mib(field: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(status[field].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--objectives", nargs="+", default=["grad_diff", *(name for name in OBJECTIVES if name != "grad_ascent")]
    )
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--lora", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hf_logging.disable_progress_bar()
    os.environ["HF_UNLEARN_CACHE"] = tempfile.mkdtemp()
    if arguments.only:
        run(arguments.only, arguments.lora)
        print(resident_mib("VmHWM"))
        return
    names = ["sft", *arguments.objectives]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.repeats):
        for name in names:
            seconds[name].append(run(name, False))
    best = {name: min(values) for name, values in seconds.items()}
    print(
        f"{BATCH} retain and {BATCH} forget rows of {LENGTH} tokens a step, 8 layers of width 384, vocabulary 4000, one thread"
    )
    built = peak_mib("built", False)
    print(f"{'objective':14} {'s/step':>7} {'/ SFT':>6} {'/ grad_diff':>11} {'peak MiB above the model':>25}")
    for name in names:
        ratios = (best[name] / best["sft"], best[name] / best["grad_diff"])
        print(f"{name:14} {best[name]:7.3f} {ratios[0]:6.2f} {ratios[1]:11.2f} {peak_mib(name, False) - built:25.0f}")
    sft, unlearning = (peak_mib(name, True) for name in ("sft", "npo"))
    print(f"LoRA: SFT on both batches at once {sft:.0f} MiB, NPO {unlearning:.0f} MiB, ratio {unlearning / sft:.2f}")


if __name__ == "__main__":
    main()
