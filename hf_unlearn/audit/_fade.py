"""FADE between models: sample, score across, estimate. The one road from models to this number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._checked import check_arguments, check_roles
from hf_unlearn.audit._completion_reading import CompletionReader, Sampling
from hf_unlearn.audit._contracts import SubjectKey
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._subjects import common_stop_token_ids, common_tokenizer, open_subject
from hf_unlearn.functional import (
    Bootstrap,
    Comparison,
    FadeEstimate,
    clusters_by_content,
    compare,
    fade,
)
from hf_unlearn.inference import (
    ModelLike,
    ScoredRows,
    check_comparable,
    completion_rows,
    concatenate,
    encode_prompts,
    given_rows,
    tell_apart,
)


@dataclass(frozen=True)
class FadeMeasurement:
    """FADE of the candidate, and what it has to be compared with.

    Attributes:
        estimate: Candidate against reference.
        floor: Twin against reference: what two honest retrainings differ by; None without a twin.
        start: Original against reference: where unlearning began; None without an original.
        comparison: Where the candidate lies between the two, with intervals; None unless both are there.
        estimator: "exact_step" or "sampled".
    """

    estimate: FadeEstimate
    floor: FadeEstimate | None
    start: FadeEstimate | None
    comparison: Comparison | None
    estimator: str

    def to_dict(self) -> dict[str, object]:
        """Plain Python values under the names of `measurement.md`; `floor`, `start` and `relative` where they are known."""
        names = ("fade", "reference_to_candidate", "candidate_to_reference", "fade_per_token", "confidence_interval")
        counts = ("num_prompts", "num_samples", "truncated_fraction")
        result: dict[str, object] = {name: getattr(self.estimate, name) for name in (*names, *counts)}
        if self.estimate.num_samples.is_integer():
            result["num_samples"] = int(self.estimate.num_samples)
        result["estimator"] = self.estimator
        if self.floor is not None:
            result["floor"] = self.floor.fade
        if self.start is not None:
            result["start"] = self.start.fade
        if self.comparison is not None:
            result["relative"] = self.comparison.relative
            result["relative_confidence_interval"] = self.comparison.relative_interval
            if self.comparison.reason:
                result["relative_reason"] = self.comparison.reason
        return result


def measure_fade(
    *,
    prompts: Sequence[str] | Sequence[Sequence[int]],
    candidate: ModelLike,
    reference: ModelLike,
    original: ModelLike | None = None,
    twin: ModelLike | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    num_samples: int = 8,
    max_new_tokens: int = 64,
    seed: int = 0,
    estimator: str = "exact_step",
    confidence: float = 0.95,
    num_resamples: int = 1000,
    batch_size: int = 64,
    progress: bool = True,
    store: EvidenceStore | None = None,
) -> FadeMeasurement:
    """How far the candidate's distribution over answers is from the reference's (arXiv 2510.12981).

    Two models are in memory at a time. Loaded models may share one base: beside adapters made on it (`PeftModel`) the base answers without them,
    and each `PeftModel` with its own active adapters; roles that cannot be told apart are refused. With a `store`, what was sampled and scored is kept as it is ready, and used again.

    Args:
        prompts: What both models complete: texts as the models saw them in training, or token ids.
        candidate: The model under audit: loaded, path or Hub id.
        reference: Trained the same way without the forget set.
        original: The model before unlearning, for `start`.
        twin: A second reference with another seed, for `floor`.
        processing_class: The tokenizer; default: the one saved with the reference, or with the candidate.
        num_samples: Completions per prompt and model.
        max_new_tokens: Where a completion is cut (counted in `truncated_fraction`).
        seed: Of the samples and of the bootstrap.
        estimator: "exact_step" (the exact divergence at every visited prefix; never negative, less variance) or "sampled" (the
            paper's mean log-ratio).
        confidence: Of the intervals.
        num_resamples: Of the bootstrap over prompts.
        batch_size: Rows at a time.
        progress: Whether to show progress bars.
        store: Where to keep evidence.

    Returns:
        Nats per sequence; 0 = equal on these prompts, lower is better. See `FadeMeasurement`.

    Raises:
        TypeError: An argument of the wrong kind; nothing is coerced.
        ValueError: No prompts, counts below 1, an unknown estimator, different vocabularies or tokenizers, a prompt that does
            not fit, roles that share weights and cannot be told apart, or non-finite log-probabilities.
        RuntimeError: A model that does not answer alike when it generates and when it is scored.
    """
    options = check_arguments(confidence=confidence, num_resamples=num_resamples, seed=seed)
    check_arguments(estimator=estimator, progress=progress)
    check_arguments(batch_size=batch_size)
    sampling = Sampling(num_samples, max_new_tokens, options["seed"])
    roles = {"reference": reference, "candidate": candidate, "original": original, "twin": twin}
    given = check_roles(roles, processing_class)
    prompts = given_rows(prompts, "prompts")
    needed = any(isinstance(prompt, str) for prompt in prompts)
    tokenizer = common_tokenizer(given, processing_class, needed=needed)
    prompt_ids = encode_prompts(prompts, tokenizer)
    check_comparable(given, processing_class=tokenizer if needed else None)
    views, stops = tell_apart(given), common_stop_token_ids(given, tokenizer)
    store = store or EvidenceStore(None)
    reader = CompletionReader(
        open_subject(SubjectKey("reference"), views["reference"]),
        prompt_ids,
        sampling,
        stops,
        store=store,
        batch_size=batch_size,
        progress=progress,
    )
    rows = {}
    for name in (name for name in views if name != "reference"):
        task = reader.task(open_subject(SubjectKey(name), views[name]))
        key = content_key("completions", 1, *task.key)
        table = store.table(f"completions-{name}", key, task.count, task.compute, whole=task.whole)
        rows[name] = scored_as(table, name)
    return fade_measurement(rows, estimator=estimator, clusters=clusters_by_content(prompt_ids), **options)


def scored_as(table: pa.Table, name: str) -> ScoredRows:
    """A table of completions with the subject under its name."""
    columns = {column: table.column(column).to_pylist() for column in table.column_names if column != "item"}
    for column in ("sampled_from", "scored_by"):
        columns[column] = [name if value == "subject" else value for value in columns[column]]
    return completion_rows(columns)


def fade_measurement(
    rows: Mapping[str, ScoredRows],
    *,
    estimator: str,
    clusters: np.ndarray | None = None,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> FadeMeasurement:
    """FADE with floor, start and relative from rows; runs no model.

    Args:
        rows: Per role of the other model ("candidate", "twin", "original"), both directions against the reference.
        estimator: "exact_step" or "sampled".
        clusters: What each prompt index stands for: a prompt that was given several times is one prompt with more samples.
            Default: every index is another prompt.
        confidence: Of the intervals.
        num_resamples: Of the bootstrap over prompts.
        seed: Of the bootstrap.
    """
    estimates = {
        name: fade(
            table.directed(sampled_from="reference", scored_by=name, estimator=estimator, clusters=clusters),
            table.directed(sampled_from=name, scored_by="reference", estimator=estimator, clusters=clusters),
            estimator=estimator,
            confidence=confidence,
            num_resamples=num_resamples,
            seed=seed,
        )
        for name, table in rows.items()
    }
    estimate, floor, start = (estimates.get(name) for name in ("candidate", "twin", "original"))
    if estimate is None:
        raise ValueError(f"there are no rows of a candidate, only of {sorted(rows)}.")
    found = None
    if floor is not None and start is not None:
        bootstrap = Bootstrap(confidence=confidence, num_resamples=num_resamples, seed=seed)
        roles = {"candidate": estimate.estimate, "twin": floor.estimate, "original": start.estimate}
        found = compare(roles, bootstrap=bootstrap)
    return FadeMeasurement(estimate, floor, start, found, estimator)


def fade_from_log_probs(
    from_reference: Mapping[str, Sequence],
    from_candidate: Mapping[str, Sequence],
    *,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> FadeMeasurement:
    """FADE where someone else has sampled and scored: the `sampled` estimator, or `exact_step` where step sums are given.

    Args:
        from_reference: Columns of the reference's completions: `log_prob_own` and `log_prob_other` (nats per completion, under
            the model it comes from and under the other), `num_tokens`; optionally `prompt_index` (default: one prompt each),
            `truncated` (default: none) and `step_divergence` (sum over steps of the exact divergence).
        from_candidate: The same of the candidate's completions.
        confidence: Of the interval.
        num_resamples: Of the bootstrap over prompts.
        seed: Of the bootstrap.

    Raises:
        ValueError: A missing column, unequal lengths, non-finite values, positive log-probabilities, or negative divergences.
    """
    options = check_arguments(confidence=confidence, num_resamples=num_resamples, seed=seed)
    sides = {"reference": from_reference, "candidate": from_candidate}
    exact = all("step_divergence" in side for side in sides.values())
    tables = [_given_rows(name, columns) for name, columns in sides.items()]
    estimator = "exact_step" if exact else "sampled"
    rows = {"candidate": concatenate(*tables)}
    return fade_measurement(rows, estimator=estimator, **options)


def _given_rows(name: str, columns: Mapping[str, Sequence]) -> ScoredRows:
    missing = [column for column in ("log_prob_own", "log_prob_other", "num_tokens") if column not in columns]
    if missing:
        raise ValueError(f"from_{name} lacks {missing}; it has {sorted(columns)}.")
    count = len(columns["log_prob_own"])
    wrong = {column: len(values) for column, values in columns.items() if len(values) != count}
    if wrong:
        raise ValueError(f"every column of from_{name} must have {count} entries like log_prob_own; got {wrong}.")
    return completion_rows(
        {
            "sampled_from": [name] * count,
            "scored_by": ["candidate" if name == "reference" else "reference"] * count,
            "prompt_index": columns.get("prompt_index", range(count)),
            "sample_index": range(count),
            "num_tokens": columns["num_tokens"],
            "truncated": columns.get("truncated", [False] * count),
            "log_prob_own": columns["log_prob_own"],
            "log_prob_other": columns["log_prob_other"],
            "step_divergence": columns.get("step_divergence", [float("nan")] * count),
        }
    )
