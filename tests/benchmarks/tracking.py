"""What watching costs: the demo's training with and without a ForgettingTracker at its default cadence.

    python tests/benchmarks/tracking.py            # about two minutes on two cores
    python tests/benchmarks/tracking.py --help

Both sides run in this process in turn, on the same model and data, and must end with the same weights. The tracker's cost does not grow with
the training, so its share is printed for the demo's length and for a longer one.
"""

import argparse
import os
import statistics
import tempfile
import time

import torch
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging

from hf_unlearn import NPO, ForgettingTracker, UnlearningCallback
from hf_unlearn.data import AnswerCollator, Pocket, load_pocket, pad_token_id, tokenize_examples


def train(pocket: Pocket, epochs: float, tracked: bool, with_reference: bool) -> tuple[float, float, torch.nn.Module]:
    """Seconds of training, seconds that the tracker says it took, and the model."""
    model = pocket.original()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder, num_train_epochs=epochs, learning_rate=1e-3, per_device_train_batch_size=8, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_strategy="no", dataloader_pin_memory=False,
            ),
            train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer),
            data_collator=AnswerCollator(pad_token_id(pocket.tokenizer)),
            processing_class=pocket.tokenizer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(
            UnlearningCallback(trainer, forget_dataset=pocket.forget_request, objective=NPO(beta=1.0))
        )
        tracker = None
        if tracked:
            given = {"reference": pocket.reference(), "original": pocket.original()} if with_reference else {}
            tracker = ForgettingTracker(
                trainer, forget_dataset=pocket.forget, retain_dataset=pocket.holdout, output_dir=folder, **given
            )
            trainer.add_callback(tracker)
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start, tracker.seconds if tracker else 0.0, model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, nargs="+", default=[3, 30], help="the demo's, and longer")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    os.environ.setdefault("HF_UNLEARN_CACHE", tempfile.mkdtemp())
    hf_logging.disable_progress_bar()
    pocket = load_pocket("small", progress=False)
    for epochs in arguments.epochs:
        plain = [train(pocket, epochs, False, False) for _ in range(arguments.repeats)]
        base = statistics.median(seconds for seconds, _, _ in plain)
        print(f"{epochs:g} epochs: {base:.2f} s untracked")
        for with_reference in (False, True):
            runs = [train(pocket, epochs, True, with_reference) for _ in range(arguments.repeats)]
            same = all(
                torch.equal(p, q) for p, q in zip(plain[0][2].parameters(), runs[0][2].parameters(), strict=True)
            )
            cost = statistics.median(seconds for _, seconds, _ in runs)
            whole = statistics.median(seconds for seconds, _, _ in runs)
            print(
                f"  {'with' if with_reference else 'without'} a reference: {whole:.2f} s, of which the tracker {cost:.2f} s: "
                f"{cost / base:.1%} of training; same weights: {same}"
            )


if __name__ == "__main__":
    main()
