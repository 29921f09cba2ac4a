"""The story behind `hf-unlearn demo`: a complete unlearning job on the pocket benchmark, told step by step.

It uses the public API as a user would: a plain Trainer, one callback, one audit.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hf_unlearn.audit import AuditReport, audit
from hf_unlearn.data import load_pocket
from hf_unlearn.objectives import NPO, GradientAscent


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
    name: str
    title: str
    objective: NPO | GradientAscent
    epochs: float
    learning_rate: float
    retain_weight: float


def run_demo(output_dir: str | os.PathLike, *, size: str = "small", seed: int = 0) -> Iterator[Step | Outcome]:
    """Train, retrain without the forget set, unlearn in two ways, and measure both against the retrained model.

    Args:
        output_dir: One folder per candidate goes here, with `report.json` and `fade.png`.
        size: Of the pocket benchmark.
        seed: Of data and models.

    Yields:
        What was done, as it is done.
    """
    folder = Path(output_dir)
    pocket = load_pocket(size, seed=seed)
    people = {name: len(set(pocket.split(name)["person_id"])) for name in ("retain", "forget", "forget_ood")}
    yield Step(
        "data",
        f"{people['retain']} people to keep, {people['forget']} people and {people['forget_ood']} ships to forget "
        f"({len(pocket.forget_request)} of {len(pocket.retain) + len(pocket.forget_request)} rows)",
    )
    stories = {
        "original": "trained on everything",
        "reference": "trained the same way without the forget set: what unlearning should give",
        "twin": "a second reference with another seed: how much two honest retrainings differ",
    }
    for role, story in stories.items():
        started = time.perf_counter()
        getattr(pocket, role)(progress=True)
        yield Step(role, f"{story} ({time.perf_counter() - started:.0f} s)")
    for candidate in CANDIDATES[size]:
        started = time.perf_counter()
        model = _unlearn(pocket, candidate, folder / candidate.name, seed)
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
            output_dir=folder / candidate.name,
            seed=seed,
        )
        yield Outcome(candidate.title, report, folder / candidate.name)
