"""The audit: is this model indistinguishable from one that never saw the data?

Everything cheap is checked first; then each model is opened once and leaves evidence; metrics are functions of it.
"""

import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hf_unlearn._arguments import folder_path, given
from hf_unlearn._files import check_writable
from hf_unlearn.audit._audit_set import AuditSet, all_sets
from hf_unlearn.audit._contracts import Condition, DomainFactory, metrics_of
from hf_unlearn.audit._engine import Engine
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._measure import measure
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._metric_result import MetricResults
from hf_unlearn.audit._provenance import library_versions
from hf_unlearn.audit._report import AuditReport, Provenance, ReportNotSavedError, shown
from hf_unlearn.audit._role_checks import RoleChecks
from hf_unlearn.audit._rows import Evidence, Rows, SubjectKey
from hf_unlearn.audit._selection import (
    MetricLike,
    choose_conditions,
    choose_domain,
    choose_metrics,
    measured_on,
    names_of,
    numbered_roles,
    without_reference,
    without_twins,
)
from hf_unlearn.config import AuditConfig, documented
from hf_unlearn.data import DataLike
from hf_unlearn.functional import Bootstrap
from hf_unlearn.inference import ModelLike, as_one, is_main_process, same_everywhere


@as_one
@documented(AuditConfig)
def audit(
    candidate: ModelLike,
    *,
    reference: ModelLike | None = None,
    forget: DataLike | AuditSet,
    retain: DataLike | AuditSet | None = None,
    holdout: DataLike | AuditSet | None = None,
    sets: Mapping[str, DataLike | AuditSet] | None = None,
    original: ModelLike | None = None,
    twin: ModelLike | Sequence[ModelLike] | None = None,
    continued: ModelLike | Sequence[ModelLike] | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    output_dir: str | os.PathLike | None = None,
    domain: str | DomainFactory = "causal_lm",
    metrics: str | Sequence[MetricLike] = "standard",
    conditions: Sequence[str | Condition] = (),
    prompt_template: str | None = None,
    cluster_column: str | None = None,
    num_samples: int = 8,
    max_new_tokens: int | None = None,
    max_examples: int = 400,
    estimator: str = "exact_step",
    seed: int = 0,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    layers: Sequence[int] | None = None,
    pooling: str = "answer_mean",
    space: str = "auto",
    dtype: str | torch.dtype = "auto",
    device_map: str | None = None,
    batch_size: int = 64,
    evidence_dir: str | os.PathLike | None = None,
    num_counterfactuals: int = 8,
    subject_column: str | None = None,
    allow_overlap: bool = False,
    compatible: bool = False,
    benchmark: str | None = None,
    harness_tasks: Sequence[str] = (),
    harness_include_path: str | os.PathLike | None = None,
    harness_limit: int | None = None,
    progress: bool = True,
) -> AuditReport:
    """Compare an unlearned model with one that never saw the data.

    Three models are in memory at a time where they are given as paths or ids. Loaded ones may share one base: beside adapters made on it
    (`PeftModel`) the base answers without them, and each `PeftModel` with its own. Under `torchrun` or `accelerate launch` the work is
    shared and every process gets the report; the main one writes, so other machines need not see its folders. Where one process fails, all
    do (`OtherProcessError`, with its message).

    Args:
        candidate: The unlearned model: loaded, path or Hub id.
        reference: Trained the same way without the forget set. Without one, the counterfactual metrics take its place; they need `original`.
        forget: What had to go: dataset, `load_dataset` spec or file. Running text (`text`) is cut into chunks of at most 256 tokens, whose
            first half is the prompt and whose second half is the answer, see `data.chunk_texts`; `max_examples` counts chunks, and
            intervals are over texts.
        retain: What had to stay.
        holdout: Never trained on, for comparison with the forget set.
        sets: Further ones by name, for example `{"real_authors": AuditSet("me/facts", role="retain", metrics=["rouge_l"])}`; results are
            then `rouge_l/real_authors`. Data without an `AuditSet` is what had to stay.
        original: The model before unlearning; gives `start`.
        twin: A second reference with another seed, or several; gives `floor`. Without both there is no `relative`.
        continued: Models that the original became when it was trained on for a while on retain data, see `training.continued`: they estimate
            retraining noise, and give counterfactual metrics their floor.
        processing_class: The tokenizer; default: the one saved with the models.
        output_dir: Where `report.json`, the figures and `evidence/` go; an interrupted audit resumes from there. None keeps
            nothing.
        {AuditConfig}

    Returns:
        The report, with results by key (`fade/forget`, `probability/retain`). Where the original does not clearly know the forget answers better
        than the reference, its reading says this alone (a wrong template or tokenizer, other data). Roles of equal weights are
        named first.

    Raises:
        TypeError: An argument of the wrong kind; said before anything is opened, nothing is coerced.
        ImportError: `harness_tasks` without lm-eval; says how to install it.
        ValueError: One out of range, or data or models that cannot be audited, or roles that share weights and cannot be told apart; said
            before any model runs.
        RuntimeError: A model that does not answer alike when it generates and when it is scored.
        OSError: `output_dir` cannot be written to.
        ReportNotSavedError: All is computed but the report could not be written; it is in the exception.
    """
    given("forget", forget, "the data that had to go")
    if reference is None and original is None:
        raise ValueError(
            "an audit needs a model to compare with: reference= (trained the same way without the forget set), or original= (the model before "
            "unlearning), for counterfactual metrics."
        )
    if reference is None and twin not in (None, [], ()):
        raise ValueError(
            "a twin is a second reference, and there is no first one: give it as reference=. Models that the original became by further training on "
            "retain data are continued=."
        )
    kept = None if evidence_dir is None else os.fspath(evidence_dir)
    named = {
        "evidence_dir": kept,
        "harness_include_path": None if harness_include_path is None else os.fspath(harness_include_path),
        "metrics": names_of(metrics),
        "conditions": names_of(conditions),
        "domain": names_of(domain),
        "dtype": str(dtype).removeprefix("torch."),
    }
    config = AuditConfig.of(locals() | named)
    settings = config.plain()
    chosen = choose_metrics(metrics, settings, has_reference=reference is not None)
    attacks = choose_conditions(conditions, [metric.spec.name for metric in chosen])
    make = choose_domain(domain)
    folder = None if output_dir is None else folder_path("output_dir", output_dir)
    if folder is not None and is_main_process():
        check_writable(folder)
    store = EvidenceStore(kept or (folder and folder / "evidence"))
    roles = {"reference": reference, "candidate": candidate, "original": original}
    roles |= {**numbered_roles("twin", twin), **numbered_roles("continued", continued)}
    main = {"forget": forget, "retain": retain, "holdout": holdout}
    data = all_sets(main, sets, [metric.spec.name for metric in chosen])
    opened = make(roles, data, processing_class, config, store)
    if config.harness_tasks and not metrics_of(opened):
        raise ValueError(f"harness_tasks are for causal language models; the domain {opened.name} has none.")
    chosen = without_twins([*chosen, *metrics_of(opened)])
    chosen, lacking = (chosen, []) if reference is not None else without_reference(chosen)
    same_everywhere(
        "what is audited", [settings, config.batch_size, dict(opened.settings()), dict(opened.describe_data())]
    )
    checks = RoleChecks(config.confidence, has_reference=reference is not None)
    engine = Engine(opened, chosen, attacks, settings, store, checks)
    present = [role for role, model in roles.items() if model is not None]
    evidence = engine.read(present)
    uncertainty = Bootstrap(config.confidence, config.num_resamples, config.seed)
    results, undefined = _measured(engine, evidence, uncertainty)
    asked = (config.metrics,) if isinstance(config.metrics, str) else config.metrics
    notes = _notes(present, opened.splits(), undefined, asked, lacking)
    report = AuditReport(
        results,
        Provenance(
            dict(opened.describe()),
            dict(opened.describe_data()),
            {**settings, **opened.settings()},
            library_versions(),
            dict(opened.versions),
        ),
        (*engine.notes, *opened.notes(), *notes, *_metric_notes(chosen, evidence, results)),
        datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        specs={
            metric.spec.name: shown(metric.spec)
            for metric in chosen
            if any(r.name == metric.spec.name for r in results.values())
        },
        findings=checks.finish(present),
    )
    if folder is not None and is_main_process():
        _save(report, folder)
    return report


def _measured(engine: Engine, evidence: Evidence, uncertainty: Bootstrap) -> tuple[MetricResults, dict[str, str]]:
    """All results, plain ones first, and why others are not there."""
    results, undefined = MetricResults(), dict[str, str]()
    under = [("", engine.metrics), *((condition.name, engine.under(condition)) for condition in engine.conditions)]
    for condition, metrics in under:
        for metric in metrics:
            for split in measured_on(metric, evidence.splits):
                found = measure(metric, evidence, split, condition, uncertainty)
                if isinstance(found, str):
                    undefined[f"{metric.spec.name}/{split}" + (f"@{condition}" if condition else "")] = found
                else:
                    results[found.key] = found
    return results, undefined


def _metric_notes(metrics: Sequence[BaseMetric], evidence: Evidence, results: MetricResults) -> list[str]:
    found = [
        note
        for metric in metrics
        for split in measured_on(metric, evidence.splits)
        if f"{metric.spec.name}/{split}" in results
        for note in metric.notes(Rows(evidence, SubjectKey("candidate"), split))
    ]
    return list(dict.fromkeys(found))  # several metrics may have the same to say


def _notes(
    roles: Sequence[str],
    splits: Mapping[str, Any],
    undefined: Mapping[str, str],
    asked: Sequence[str],
    lacking: Sequence[str],
) -> list[str]:
    """What a reader must know besides the numbers.

    Args:
        roles: Those that were given.
        splits: The sets.
        undefined: Why results are not there, by their keys.
        asked: Names of metrics that were asked for.
        lacking: Titles of metrics that compare with a reference, where there is none.
    """
    notes = []
    of_reference = "of the reference on"
    if "reference" not in roles:
        lacking = list(
            dict.fromkeys([*lacking, *(key.split("/")[0] for key, why in undefined.items() if of_reference in why)])
        )
        undefined = {key: why for key, why in undefined.items() if of_reference not in why}
        needing = f": {_listed(lacking)} need" if lacking else ", so that nothing was measured that needs"
        notes.append(f"No reference was given{needing} a retrained model. No value here was compared with one.")
    elif not any(role.startswith("twin") for role in roles):
        notes.append(
            "No twin was given: there is no noise floor, so small distances cannot be told from retraining noise."
        )
    if "original" not in roles:
        notes.append("No original was given: there is no start, so it cannot be said how much was removed.")
    if "retain" not in splits:
        notes.append("No retain set was given: damage to what had to stay was not measured.")
    # Of the standard metrics many have no value without further sets or columns, which needs no words.
    quiet = ("there is no reading", "it needs a", "it needs the", "no hidden states were read", "needs a")
    reasons: dict[str, list[str]] = {}
    for key, why in undefined.items():
        if key.split("/")[0] in asked or not why.startswith(quiet):
            reasons.setdefault(why, []).append(key)
    return notes + [f"Not defined: {', '.join(keys)}: {why}." for why, keys in reasons.items()]


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = len(names) - most
    return (
        " and ".join(names)
        if len(names) < 3
        else f"{', '.join(names[:most])}" + (f" and {more} more" if more > 0 else "")
    )


def _save(report: AuditReport, folder: Path) -> None:
    try:
        report.save(folder)
    except OSError as error:
        raise ReportNotSavedError(report, folder, error) from error
