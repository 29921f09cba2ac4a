"""The audit: is this model indistinguishable from one that never saw the data?

Everything cheap is checked first; then each model is opened once and leaves rows; metrics are functions of the rows.
"""

import datetime
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn._files import check_writable
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._fade import (
    FadeMeasurement,
    ReferenceSide,
    Sampling,
    Subject,
    common_stop_token_ids,
    common_tokenizer,
    fade_measurement,
    open_subject,
)
from hf_unlearn.audit._results import AuditReport, MetricResult, Provenance, ReportNotSavedError
from hf_unlearn.data import DataLike, check_disjoint, data_fingerprint, load_data, prompt_token_ids, tokenize_examples
from hf_unlearn.functional import IGNORE_INDEX, FadeEstimate, bootstrap_means, percentile_interval
from hf_unlearn.inference import (
    AnswerRows,
    ModelLike,
    ScoredRows,
    check_comparable,
    check_estimator,
    is_main_process,
    score,
)


logger = logging.getLogger(__name__)
ROLES = ("reference", "candidate", "original", "twin")
MAX_NEW_TOKENS = 128


@dataclass(frozen=True)
class _Split:
    name: str
    dataset: Dataset
    total: int
    examples: Sequence[dict[str, list[int]]]
    prompts: tuple[tuple[int, ...], ...]


@dataclass
class _Rows:
    """What the models left behind: per split, rows of completions by role, and rows of answers by role."""

    completions: dict[str, dict[str, ScoredRows]] = field(default_factory=dict)
    answers: dict[str, dict[str, AnswerRows]] = field(default_factory=dict)


def audit(
    candidate: ModelLike,
    *,
    reference: ModelLike,
    forget: DataLike,
    retain: DataLike | None = None,
    holdout: DataLike | None = None,
    original: ModelLike | None = None,
    twin: ModelLike | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    output_dir: str | os.PathLike | None = None,
    num_samples: int = 8,
    max_new_tokens: int | None = None,
    max_examples: int = 400,
    estimator: str = "exact_step",
    seed: int = 0,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    batch_size: int = 64,
    allow_overlap: bool = False,
    progress: bool = True,
) -> AuditReport:
    """Compare an unlearned model with one that never saw the data.

    Two models are in memory at a time where they are given as paths or ids. Under `torchrun` or Accelerate the work is shared
    and every process gets the report; the main one writes it.

    Args:
        candidate: The unlearned model: loaded, path or Hub id.
        reference: Trained the same way without the forget set.
        forget: What had to go: dataset, `load_dataset` spec or file.
        retain: What had to stay.
        holdout: Never trained on, for comparison with the forget set.
        original: The model before unlearning; gives `start`.
        twin: A second reference with another seed; gives `floor`. Without both there is no `relative`.
        processing_class: The tokenizer; default: the one saved with the models.
        output_dir: Where `report.json`, `fade.png` and `evidence/` go; an interrupted audit resumes from there. None keeps
            nothing.
        num_samples: Completions per prompt and model.
        max_new_tokens: Where completions are cut; default: the longest answer in the data, at most 128.
        max_examples: Of each set at most so many are used, drawn by seed; the report says so.
        estimator: Of FADE: "exact_step" or "sampled".
        seed: Of sampling, subsets and bootstrap.
        confidence: Of all intervals.
        num_resamples: Of the bootstrap.
        batch_size: Rows at a time; does not change results.
        allow_overlap: Accept forget rows that are also in retain or holdout.
        progress: Whether to show progress bars.

    Returns:
        The report: `fade`, `forget_probability`; with `retain` also `retain_fade`, `retain_probability`; with `holdout`
        also `holdout_probability`.

    Raises:
        ValueError: Data or models that cannot be audited; said before any model runs.
        OSError: `output_dir` cannot be written to.
        ReportNotSavedError: All is computed but the report could not be written; it is in the exception.
    """
    check_estimator(estimator)
    folder = None if output_dir is None else check_writable(output_dir)
    given = {"reference": reference, "candidate": candidate, "original": original, "twin": twin}
    models = {role: model for role, model in given.items() if model is not None}
    tokenizer = common_tokenizer(models, processing_class, needed=True)
    assert tokenizer is not None
    check_comparable(models, processing_class=tokenizer)
    splits = _load_splits(
        {"forget": forget, "retain": retain, "holdout": holdout}, tokenizer, max_examples, seed, allow_overlap
    )
    sampling = Sampling(
        num_samples, _longest_answer(splits) if max_new_tokens is None else max_new_tokens, seed, batch_size
    )
    store = EvidenceStore(folder and folder / "evidence")
    rows, described = _run(models, splits, sampling, common_stop_token_ids(models, tokenizer), store, progress)
    options = {"confidence": confidence, "num_resamples": num_resamples, "seed": seed}
    metrics = _metrics(rows, splits, estimator, options)
    settings: dict[str, str | int | float | bool | None] = {
        "num_samples": sampling.num_samples,
        "max_new_tokens": sampling.max_new_tokens,
        "estimator": estimator,
        "max_examples": max_examples,
        "allow_overlap": allow_overlap,
        "chat_template": bool(tokenizer.chat_template),
        **options,
    }
    data: dict[str, dict[str, str | int]] = {
        split.name: {"sha256": data_fingerprint(split.dataset), "rows": len(split.examples), "of": split.total}
        for split in splits.values()
    }
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    provenance = Provenance(described, data, settings, _versions())
    report = AuditReport(metrics, provenance, _notes(models, splits, metrics), created)
    if folder is not None and is_main_process():
        _save(report, folder)
    return report


def _load_splits(
    data: Mapping[str, DataLike | None],
    tokenizer: PreTrainedTokenizerBase,
    max_examples: int,
    seed: int,
    allow_overlap: bool,
) -> dict[str, _Split]:
    if max_examples < 1:
        raise ValueError(f"max_examples must be at least 1, got {max_examples}.")
    datasets = {name: load_data(value) for name, value in data.items() if value is not None}
    for other in ("retain", "holdout"):
        if other in datasets:
            check_disjoint(datasets["forget"], datasets[other], allow_overlap=allow_overlap, name=other)
    splits = {}
    for name, dataset in datasets.items():
        total = len(dataset)
        if total > max_examples:
            chosen = np.random.default_rng(seed).choice(total, max_examples, replace=False)
            dataset = dataset.select(sorted(chosen.tolist()))
            logger.info("using %d of %d %s examples, drawn with seed %d", max_examples, total, name, seed)
        examples = tokenize_examples(dataset, tokenizer).to_list()
        prompts = tuple(map(tuple, prompt_token_ids(dataset, tokenizer)))
        splits[name] = _Split(name, dataset, total, examples, prompts)
    return splits


def _longest_answer(splits: Mapping[str, _Split]) -> int:
    """Enough for every answer in the data, end token included, within reason."""
    lengths = [
        sum(label != IGNORE_INDEX for label in example["labels"])
        for split in splits.values()
        for example in split.examples
    ]
    return min(max(lengths), MAX_NEW_TOKENS)


def _run(
    models: Mapping[str, ModelLike],
    splits: Mapping[str, _Split],
    sampling: Sampling,
    stops: Sequence[int],
    store: EvidenceStore,
    progress: bool,
) -> tuple[_Rows, dict[str, dict[str, str]]]:
    """Open the reference, then each other model once, and take all rows that need it."""
    reference = open_subject("reference", models["reference"])
    compared = [splits[name] for name in ("forget", "retain") if name in splits]
    sides = {
        split.name: ReferenceSide(
            reference, split.prompts, sampling, stops, name=split.name, store=store, progress=progress
        )
        for split in compared
    }
    rows, described = _Rows({split.name: {} for split in compared}, {name: {} for name in splits}), {}
    for role, model in models.items():
        subject = reference if role == "reference" else open_subject(role, model)
        described[role] = _describe(model, subject)
        if role != "reference":
            for split in compared:
                rows.completions[split.name][role] = sides[split.name].against(subject)
        for split in splits.values():
            rows.answers[split.name][role] = _answers(subject, split, sampling.batch_size, store, progress)
    return rows, described


def _answers(subject: Subject, split: _Split, batch_size: int, store: EvidenceStore, progress: bool) -> AnswerRows:
    key = content_key(subject.fingerprint, split.examples)
    return store.rows(
        f"answers-{split.name}-{subject.role}",
        key,
        lambda: score({subject.role: subject.model}, split.examples, batch_size=batch_size, progress=progress),
    )


def _metrics(
    rows: _Rows, splits: Mapping[str, _Split], estimator: str, options: Mapping[str, float | int]
) -> dict[str, MetricResult]:
    confidence, num_resamples, seed = options["confidence"], int(options["num_resamples"]), int(options["seed"])
    metrics = {}
    for name, tables in rows.completions.items():
        measured = fade_measurement(
            tables, estimator=estimator, confidence=confidence, num_resamples=num_resamples, seed=seed
        )
        metrics["fade" if name == "forget" else f"{name}_fade"] = _fade_result(measured)
    for name in splits:
        values = {role: table.probability(role) for role, table in rows.answers[name].items()}
        resamples = bootstrap_means(values["candidate"], num_resamples=num_resamples, seed=seed)
        enough = len(values["candidate"]) > 1
        metrics[f"{name}_probability"] = MetricResult(
            value=float(values["candidate"].mean()),
            confidence_interval=percentile_interval(resamples, confidence=confidence) if enough else None,
            n=len(values["candidate"]),
            unit="exp(mean token log-probability) of the answer",
            direction="reference",
            others={role: float(value.mean()) for role, value in values.items() if role != "candidate"},
        )
    return metrics


def _fade_result(measured: FadeMeasurement) -> MetricResult:
    def value(estimate: FadeEstimate | None) -> float | None:
        return None if estimate is None else estimate.fade

    def interval(estimate: FadeEstimate | None) -> tuple[float, float] | None:
        return None if estimate is None else estimate.confidence_interval

    details = (
        "reference_to_candidate",
        "candidate_to_reference",
        "fade_per_token",
        "num_samples",
        "truncated_fraction",
    )
    place = measured.relative
    return MetricResult(
        value=measured.estimate.fade,
        confidence_interval=measured.estimate.confidence_interval,
        n=measured.estimate.num_prompts,
        unit="nats per sequence",
        direction="lower",
        floor=value(measured.floor),
        start=value(measured.start),
        floor_confidence_interval=interval(measured.floor),
        start_confidence_interval=interval(measured.start),
        relative=place.value if place else None,
        relative_confidence_interval=place.confidence_interval if place else None,
        relative_reason=place.reason if place else "needs a twin and an original",
        details={name: float(getattr(measured.estimate, name)) for name in details},
    )


def _notes(
    models: Mapping[str, ModelLike], splits: Mapping[str, _Split], metrics: Mapping[str, MetricResult]
) -> tuple[str, ...]:
    notes = []
    if "twin" not in models:
        notes.append(
            "No twin was given: there is no noise floor, so small distances cannot be told from retraining noise."
        )
    if "original" not in models:
        notes.append("No original was given: there is no start, so it cannot be said how much was removed.")
    if "retain" not in splits:
        notes.append("No retain set was given: damage to what had to stay was not measured.")
    notes += [
        f"Of {split.total} {split.name} examples {len(split.examples)} were used."
        for split in splits.values()
        if len(split.examples) < split.total
    ]
    for name, result in metrics.items():
        cut = result.details.get("truncated_fraction", 0.0)
        if cut > 0.1:
            notes.append(
                f"{name}: {cut:.0%} of the completions were cut; the divergence of what would follow is not counted."
            )
    return tuple(notes)


def _describe(model: ModelLike, subject: Subject) -> dict[str, str]:
    """A Hub id as it is; of a local path only the last part, since a report may travel."""
    name = str(model) if isinstance(model, (str, os.PathLike)) else getattr(subject.model.config, "_name_or_path", "")
    if os.path.isabs(name) or Path(name).exists():
        name = Path(name).name
    return {
        "name": name,
        "weights_sha256": subject.fingerprint,
        "dtype": str(subject.model.dtype).removeprefix("torch."),
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("hf-unlearn", "torch", "transformers", "peft", "datasets", "accelerate")}


def _save(report: AuditReport, folder: Path) -> None:
    try:
        report.save(folder)
    except OSError as error:
        raise ReportNotSavedError(report, folder, error) from error
