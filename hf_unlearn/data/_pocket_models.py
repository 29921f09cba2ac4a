"""The pocket benchmark's models: tiny Llamas, pretrained and fine-tuned by a plain Trainer, once per machine, and kept on disk.

Knows how to train on a tokenized set and where to keep the result. Does not know who is in the set: the caller names the role
and hands over the rows.
"""

import hashlib
import json
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from filelock import FileLock
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils import logging as transformers_logging

from hf_unlearn._files import cache_root
from hf_unlearn.data._collation import tokenize_examples
from hf_unlearn.data._collator import AnswerCollator, pad_token_id
from hf_unlearn.data._fingerprint import data_fingerprint


logger = logging.getLogger(__name__)

POCKET_VERSION = 3
"""Counted up whenever the same seed and recipe would no longer give the same models."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model is trained on its rows."""

    num_epochs: int
    learning_rate: float
    batch_size: int = 16
    weight_decay: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model besides its data and seeds: its shape, how its base is trained, and how it goes on from there."""

    hidden_size: int
    num_layers: int
    base: Schedule
    tuning: Schedule


@dataclass(frozen=True)
class Training:
    """One training from start to end.

    Attributes:
        role: A word for the folder's key and the log.
        rows: What to train on, as `tokenize_examples` understands it.
        schedule: How.
        order_seed: Decides the data order.
        start: The training whose result it goes on from, or the seed of its initial weights.
    """

    role: str
    rows: Dataset
    schedule: Schedule
    order_seed: int
    start: "Training | int"


def trained_model(
    training: Training, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, *, progress: bool = False
) -> LlamaForCausalLM:
    """The result of a training: from disk, or trained now and put there, with whatever it goes on from.

    Args:
        training: What to train on what.
        recipe: The shape of the model.
        tokenizer: Whose ids the model speaks.
        progress: Show the Trainer's bar.

    Returns:
        On the CPU, in eval mode. The caller's random state is as it was.

    Raises:
        RuntimeError: Training is needed inside a multi-process launch, where processes would wait for each other.
    """
    folder = cache_folder() / f"{training.role}-{_digest(training, recipe)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # one test worker trains, the others wait and then read
        if not (folder / "model.safetensors").is_file():
            _refuse_several_processes(training.role)
            if isinstance(training.start, Training):
                start = trained_model(training.start, recipe, tokenizer, progress=progress)
            else:
                start = _initial(tokenizer, recipe, training.start)
            logger.info("Training the pocket benchmark's %s model into %s.", training.role, folder)
            with _untouched_random_state(), _bars(progress):
                _train_into(folder, start, training, tokenizer, progress)
    # `from_pretrained` draws random numbers before it fills the weights in.
    with _untouched_random_state(), _bars(progress):
        return LlamaForCausalLM.from_pretrained(folder).eval()


def cache_folder() -> Path:
    """Where pocket models are kept: `$HF_UNLEARN_CACHE/pocket`, else `$HF_HOME/hf_unlearn/pocket`."""
    return cache_root() / "pocket"


def _digest(training: Training, recipe: Recipe) -> str:
    start = training.start
    parts = {
        "version": POCKET_VERSION,
        "role": training.role,
        "order_seed": training.order_seed,
        "start": _digest(start, recipe) if isinstance(start, Training) else start,
        "shape": [recipe.hidden_size, recipe.num_layers],
        "schedule": asdict(training.schedule),
        "data": data_fingerprint(training.rows.select_columns(["question", "answer"])),  # all that training reads
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _initial(tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int) -> LlamaForCausalLM:
    with _untouched_random_state():
        set_seed(seed)
        return LlamaForCausalLM(_config(tokenizer, recipe))


def _train_into(
    folder: Path, start: LlamaForCausalLM, training: Training, tokenizer: PreTrainedTokenizerFast, progress: bool
) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model = _train(start, training, tokenizer, progress, scratch / "run")
        model.to("cpu").save_pretrained(scratch / "model")
        tokenizer.save_pretrained(scratch / "model")
        shutil.rmtree(folder, ignore_errors=True)  # an incomplete one from elsewhere; ours appear whole or not at all
        os.replace(scratch / "model", folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _train(
    model: LlamaForCausalLM, training: Training, tokenizer: PreTrainedTokenizerFast, progress: bool, output_dir: Path
) -> LlamaForCausalLM:
    schedule = training.schedule
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=schedule.num_epochs,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=10,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=not progress,
        seed=training.order_seed,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=tokenize_examples(training.rows, tokenizer),
        data_collator=AnswerCollator(pad_token_id(tokenizer)),
    )
    trainer.remove_callback(PrinterCallback)  # without its bar, the Trainer prints its logs instead
    if progress:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(_OnlyTheBar())
    trainer.train()
    return model


class _OnlyTheBar(ProgressCallback):
    """The Trainer's bar without the summary that it writes at the end."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


def _config(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=2 * recipe.hidden_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _refuse_several_processes(role: str) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RuntimeError(
            f"The pocket benchmark's {role} model is not in {cache_folder()} yet and cannot be trained by several "
            "processes at once. Ask for it once in a single process; later runs find it on disk."
        )


@contextmanager
def _untouched_random_state() -> Iterator[None]:
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        python, numpy = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """Transformers shows bars for writing and reading even one file; here they follow the caller's wish."""
    before = transformers_logging.is_progress_bar_enabled()
    if not shown:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            transformers_logging.enable_progress_bar()
