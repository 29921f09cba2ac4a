"""The story behind `hf-unlearn demo`: a complete unlearning job on the pocket benchmark, told step by step.

It uses the public API as a user would: a plain Trainer, one callback, one audit.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import LlamaForCausalLM, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from hf_unlearn._files import write_atomically
from hf_unlearn.audit import AuditReport, audit
from hf_unlearn.data import AnswerCollator, Pocket, load_pocket, pad_token_id, tokenize_examples
from hf_unlearn.objectives import NPO, GradientAscent, Objective
from hf_unlearn.publishing import UPLOAD, Statement, stage, update_card
from hf_unlearn.training import UnlearningCallback


@dataclass(frozen=True)
class Step:
    """Something that has just been done."""

    title: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """An audited candidate."""

    title: str
    report: AuditReport
    folder: Path


@dataclass(frozen=True)
class _Candidate:
    """One way to unlearn, and what to call it."""

    folder: str
    title: str
    objective: Objective
    learning_rate: float
    epochs: int


CANDIDATES = (
    _Candidate("npo", "NPO beside the Trainer's own loss", NPO(beta=1.0), 1e-3, 3),
    _Candidate("grad_ascent", "gradient ascent, pushed until the answers are gone", GradientAscent(), 1e-3, 4),
)


def run_demo(output_dir: str | os.PathLike, *, size: str = "small", seed: int = 0) -> Iterator[Step | Outcome]:
    """Train, retrain without the forget set, unlearn in two ways, and measure both against the retrained model.

    Args:
        output_dir: One folder per candidate goes here, with `report.json`, figures and, under `publication/`, the card that a publication would have.
        size: Of the pocket benchmark.
        seed: Of data and models.

    Yields:
        What was done, as it is done.
    """
    folder = Path(output_dir)
    pocket = load_pocket(size, seed=seed, progress=True)
    people = {name: len(set(getattr(pocket, name)["person_id"])) for name in ("retain", "forget", "forget_ood")}
    yield Step(
        "data",
        f"{people['retain']} people to keep, {people['forget']} people and {people['forget_ood']} ships to forget "
        f"({len(pocket.forget_request)} of {len(pocket.retain) + len(pocket.forget_request)} rows)",
    )
    stories = {
        "base": "what the others are fine-tuned from: it has seen other people",
        "original": "trained on everything",
        "reference": "trained the same way without the forget set: what unlearning should give",
        "twin": "a second reference with another seed: how much two honest retrainings differ",
    }
    for role, story in stories.items():
        started = time.perf_counter()
        getattr(pocket, role)()
        yield Step(role, f"{story} ({time.perf_counter() - started:.0f} s)")
    for candidate in CANDIDATES:
        started = time.perf_counter()
        model = _unlearn(pocket, candidate, seed)
        yield Step("unlearn", f"{candidate.title} ({time.perf_counter() - started:.0f} s)")
        report = audit(
            model,
            reference=pocket.reference(),
            original=pocket.original(),
            twin=pocket.twin(),
            processing_class=pocket.tokenizer,
            forget=pocket.forget_request,
            retain=pocket.retain,
            holdout=pocket.holdout,
            max_examples=64,
            output_dir=folder / candidate.folder,
            seed=seed,
        )
        _write_card(report, candidate, folder / candidate.folder)
        yield Outcome(candidate.title, report, folder / candidate.folder)


def _write_card(report: AuditReport, candidate: _Candidate, folder: Path) -> None:
    """The card as `hf-unlearn publish` would send it."""
    statement = Statement(
        forgotten="invented people and ships of the pocket benchmark",
        objective=candidate.objective.name,
        settings={"learning_rate": candidate.learning_rate, "num_train_epochs": candidate.epochs},
    )
    bundle = stage(report, statement, f"you/pocket-{candidate.folder}", folder / "publication")
    card = update_card(None, bundle.report, statement, bundle.repo_id, bundle.figures)
    write_atomically(
        folder / "publication" / UPLOAD / "README.md", lambda path: path.write_text(card, encoding="utf-8")
    )


def _unlearn(pocket: Pocket, candidate: _Candidate, seed: int) -> LlamaForCausalLM:
    """A plain Trainer on the retain set, and one callback."""
    model = pocket.original()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                learning_rate=candidate.learning_rate,
                num_train_epochs=candidate.epochs,
                per_device_train_batch_size=8,
                logging_strategy="no",
                disable_tqdm=True,
                save_strategy="no",
                report_to="none",
                seed=seed,
            ),
            train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer),
            data_collator=AnswerCollator(pad_token_id(pocket.tokenizer)),
            processing_class=pocket.tokenizer,
        )
        trainer.remove_callback(PrinterCallback)  # the story is told by whoever asked for it
        trainer.add_callback(
            UnlearningCallback(trainer, forget_dataset=pocket.forget_request, objective=candidate.objective)
        )
        trainer.train()
    return model.eval()
