"""The audit: is this model indistinguishable from one that never saw the data?

Everything cheap is checked first; then each model is opened once and leaves rows; metrics are functions of the rows.
"""

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from hf_unlearn._arguments import folder_path, given
from hf_unlearn._files import check_writable
from hf_unlearn.audit._checked import check_arguments, check_roles
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._layers import LayerReader, check_layers, feature_settings
from hf_unlearn.audit._metrics import AuditRows, audit_metrics, audit_notes
from hf_unlearn.audit._provenance import describe_data, describe_model, library_versions, notes_on_equals
from hf_unlearn.audit._representation_results import representation_results
from hf_unlearn.audit._results import AuditReport, Provenance, ReportNotSavedError
from hf_unlearn.audit._roles import known_worse, mark_equal, warn_if_not_retrained
from hf_unlearn.audit._splits import Split, load_splits, longest_answer
from hf_unlearn.audit._subjects import (
    ReferenceSide,
    Sampling,
    Subject,
    common_stop_token_ids,
    common_tokenizer,
    open_subject,
)
from hf_unlearn.audit._vacuity import known_before, other_format, warn_of_vacuity
from hf_unlearn.data import DataLike
from hf_unlearn.inference import (
    AnswerRows,
    ModelLike,
    View,
    Viewable,
    check_comparable,
    is_main_process,
    score,
    shortest_context,
    tell_apart,
)


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
    prompt_template: str | None = None,
    output_dir: str | os.PathLike | None = None,
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
    batch_size: int = 64,
    allow_overlap: bool = False,
    progress: bool = True,
) -> AuditReport:
    """Compare an unlearned model with one that never saw the data.

    Three models are in memory at a time where they are given as paths or ids. Loaded ones may share one base: beside adapters made on it
    (`PeftModel`) the base answers without them, and each `PeftModel` with its own. Under `torchrun` or Accelerate the work is shared
    and every process gets the report; the main one writes it.

    Args:
        candidate: The unlearned model: loaded, path or Hub id.
        reference: Trained the same way without the forget set.
        forget: What had to go: dataset, `load_dataset` spec or file. Running text (`text`) is cut into chunks of at most 256 tokens, whose
            first half is the prompt and whose second half is the answer, see `data.chunk_texts`; `max_examples` counts chunks, and
            intervals are over texts.
        retain: What had to stay.
        holdout: Never trained on, for comparison with the forget set.
        original: The model before unlearning; gives `start`.
        twin: A second reference with another seed; gives `floor`. Without both there is no `relative`.
        processing_class: The tokenizer; default: the one saved with the models.
        prompt_template: How questions are put, a string with `{question}`; default: the tokenizer's chat template, else
            `data.QUESTION_TEMPLATE`. It must be the one that the models were trained with.
        output_dir: Where `report.json`, the figures and `evidence/` go; an interrupted audit resumes from there. None keeps
            nothing.
        num_samples: Completions per prompt and model.
        max_new_tokens: Where completions are cut; default: the longest answer in the data, at most 128.
        max_examples: Of each set at most so many are used, drawn by seed; the report says so.
        estimator: Of FADE: "exact_step" or "sampled".
        seed: Of sampling, subsets and bootstrap.
        confidence: Of all intervals.
        num_resamples: Of the bootstrap.
        layers: Whose hidden states are compared, 0 = embeddings; default: all blocks.
        pooling: Of hidden states: "answer_mean" or "last_token".
        space: Of that comparison: "feature" where all models share their starting weights, "gram" where they do not, "auto" looks.
        batch_size: Rows at a time; does not change results.
        allow_overlap: Accept forget rows that are also in retain or holdout.
        progress: Whether to show progress bars.

    Returns:
        The report: `fade`, `forget_probability`; of hidden states the names of `functional.REPRESENTATION_METRICS`,
        `unlearning_depth_score` and `logit_lens_erasure`; with `retain` the same with `retain_` in front (not the last two),
        `forget_retain_asymmetry`, `cka_asymmetry` and `representation_unlearning_score`; with `holdout` also `holdout_probability`
        and `probe_auc`; with `twin` and `original` `excess_over_twins`. Where the original does not clearly know the forget answers
        better than the reference, its reading says this alone (a wrong template or tokenizer, other data). Roles of
        equal weights are named in the first notes.

    Raises:
        TypeError: An argument of the wrong kind; said before anything is opened, nothing is coerced.
        ValueError: One out of range, or data or models that cannot be audited, or roles that share weights and cannot be told apart; said
            before any model runs.
        RuntimeError: A model that does not answer alike when it generates and when it is scored.
        OSError: `output_dir` cannot be written to.
        ReportNotSavedError: All is computed but the report could not be written; it is in the exception.
    """
    given("forget", forget, "the data that had to go")
    checked = check_arguments(
        num_samples=num_samples,
        max_new_tokens=max_new_tokens,
        max_examples=max_examples,
        estimator=estimator,
        space=space,
        layers=layers,
        batch_size=batch_size,
        allow_overlap=allow_overlap,
        progress=progress,
    )
    options = check_arguments(confidence=confidence, num_resamples=num_resamples, seed=seed)
    seed, batch_size, layers = options["seed"], checked["batch_size"], checked["layers"]
    settings_of_layers = feature_settings(layers, pooling, space, seed, batch_size)
    roles = {"reference": reference, "candidate": candidate, "original": original, "twin": twin}
    models = check_roles(roles, processing_class)
    folder = None if output_dir is None else check_writable(folder_path("output_dir", output_dir))
    tokenizer = common_tokenizer(models, processing_class, needed=True)
    assert tokenizer is not None
    check_comparable(models, processing_class=tokenizer)
    views = tell_apart(models)
    unlike = check_layers(models, settings_of_layers.layers)
    splits = load_splits(
        {"forget": forget, "retain": retain, "holdout": holdout},
        tokenizer,
        checked["max_examples"],
        seed,
        allow_overlap,
        prompt_template,
        shortest_context(models),
    )
    sampling = Sampling(checked["num_samples"], checked["max_new_tokens"] or longest_answer(splits), seed, batch_size)
    store = EvidenceStore(folder and folder / "evidence")
    reader = LayerReader(splits, settings_of_layers, space, store, progress, skipped=unlike)

    about_format: list[str] = []

    def look(subject: Subject, answers: Mapping[str, Mapping[str, AnswerRows]]) -> None:
        role = subject.role
        if role == "original":
            about_format.extend(other_format(subject.view, splits["forget"], tokenizer, prompt_template, batch_size))
            found = known_before(answers["forget"], splits["forget"], options["confidence"])
            warn_of_vacuity(found, splits["forget"], tokenizer)
        if role in ("original", "twin") and "retain" in splits:
            behind = known_worse(answers["retain"], splits["retain"], options["confidence"])
            warn_if_not_retrained(behind, "twin" if role == "twin" else "reference")

    stops = common_stop_token_ids(models, tokenizer)
    rows, described = _run(views, splits, sampling, stops, store, progress, reader, look)
    metrics = audit_metrics(rows, splits, estimator, options)
    evidence = reader.finish()
    of_layers, layer_notes = representation_results(evidence, options)
    metrics |= of_layers
    settings: dict[str, str | int | float | bool | None] = {
        "num_samples": sampling.num_samples,
        "max_new_tokens": sampling.max_new_tokens,
        "estimator": estimator,
        "max_examples": checked["max_examples"],
        "allow_overlap": checked["allow_overlap"],
        "chat_template": bool(tokenizer.chat_template) and prompt_template is None,
        "prompt_template": prompt_template,
        "pooling": pooling,
        "space": evidence.space,
        "layers": None if layers is None else ",".join(map(str, layers)),
        "max_width": settings_of_layers.max_width,
        **options,
    }
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    provenance = Provenance(described, describe_data(splits), settings, library_versions())
    about_models = notes_on_equals(views, described)
    notes = (*about_models, *about_format, *audit_notes(described, splits, metrics), *reader.notes(), *layer_notes)
    report = AuditReport(metrics, provenance, notes, created)
    if folder is not None and is_main_process():
        _save(report, folder)
    return report


def _run(
    models: Mapping[str, Viewable],
    splits: Mapping[str, Split],
    sampling: Sampling,
    stops: Sequence[int],
    store: EvidenceStore,
    progress: bool,
    reader: LayerReader,
    before_sampling: Callable[[Subject, Mapping[str, Mapping[str, AnswerRows]]], None],
) -> tuple[AuditRows, dict[str, dict[str, str]]]:
    """Open the reference, then each other model once, and take all rows and layers that need it.

    `before_sampling` sees the answers of a role, and of those before it, before that role is sampled from; the original comes first.
    """
    reference = open_subject("reference", models["reference"])
    compared = [splits[name] for name in ("forget", "retain") if name in splits]
    sides = {
        split.name: ReferenceSide(
            reference, split.prompts, sampling, stops, name=split.name, store=store, progress=progress
        )
        for split in compared
    }
    rows, described = AuditRows({split.name: {} for split in compared}, {name: {} for name in splits}), {}
    fingerprints: dict[str, str] = {}
    for role in sorted(models, key=("reference", "original", "candidate", "twin").index):
        model = models[role]
        subject = reference if role == "reference" else open_subject(role, model)
        described[role] = describe_model(model.model if isinstance(model, View) else model, subject)
        mark_equal(described, fingerprints, subject)
        for split in splits.values():
            rows.answers[split.name][role] = _answers(subject, split, sampling.batch_size, store, progress)
        before_sampling(subject, rows.answers)
        if role != "reference":
            for split in compared:
                rows.completions[split.name][role] = sides[split.name].against(subject)
        reader.take(subject)
    return rows, described


def _answers(subject: Subject, split: Split, batch_size: int, store: EvidenceStore, progress: bool) -> AnswerRows:
    key = content_key(subject.fingerprint, split.examples)
    return store.rows(
        f"answers-{split.name}-{subject.role}",
        key,
        lambda: score({subject.role: subject.view}, split.examples, batch_size=batch_size, progress=progress),
    )


def _save(report: AuditReport, folder: Path) -> None:
    try:
        report.save(folder)
    except OSError as error:
        raise ReportNotSavedError(report, folder, error) from error
