"""From the rows that models left to the results of an audit. Runs no model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hf_unlearn.audit._fade import FadeMeasurement, fade_measurement
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._roles import behind_as_details, behind_sentences, known_worse
from hf_unlearn.audit._splits import Split
from hf_unlearn.audit._vacuity import as_details, known_before, vacuity_notes
from hf_unlearn.functional import FadeEstimate, bootstrap_means, percentile_interval
from hf_unlearn.inference import AnswerRows, ScoredRows


@dataclass
class AuditRows:
    """What the models left behind: per split, rows of completions by role, and rows of answers by role."""

    completions: dict[str, dict[str, ScoredRows]] = field(default_factory=dict)
    answers: dict[str, dict[str, AnswerRows]] = field(default_factory=dict)


def audit_metrics(
    rows: AuditRows, splits: Mapping[str, Split], estimator: str, options: Mapping[str, float | int]
) -> dict[str, MetricResult]:
    """All results, by name.

    Args:
        rows: What the models left.
        splits: The sets they were asked about.
        estimator: Of FADE.
        options: `confidence`, `num_resamples`, `seed`.
    """
    confidence, num_resamples, seed = options["confidence"], int(options["num_resamples"]), int(options["seed"])
    metrics = {}
    for name, tables in rows.completions.items():
        measured = fade_measurement(
            tables,
            estimator=estimator,
            clusters=splits[name].clusters,
            confidence=confidence,
            num_resamples=num_resamples,
            seed=seed,
        )
        metrics["fade" if name == "forget" else f"{name}_fade"] = _fade_result(measured)
    for name in splits:
        values = {role: table.probability(role) for role, table in rows.answers[name].items()}
        clusters = splits[name].clusters
        resamples = bootstrap_means(values["candidate"], clusters=clusters, num_resamples=num_resamples, seed=seed)
        enough = clusters.max() > 0
        metrics[f"{name}_probability"] = MetricResult(
            value=float(values["candidate"].mean()),
            confidence_interval=percentile_interval(resamples, confidence=confidence) if enough else None,
            n=len(values["candidate"]),
            unit="exp(mean token log-probability) of the answer",
            direction="reference",
            others={role: float(value.mean()) for role, value in values.items() if role != "candidate"},
            details=_of_roles(name, rows.answers[name], splits[name], confidence),
        )
    return metrics


def _of_roles(name: str, answers: Mapping[str, AnswerRows], split: Split, confidence: float) -> dict[str, float]:
    """Whether original, reference and twin are what they should be, as far as this set tells."""
    if name == "forget":
        return as_details(known_before(answers, split, confidence))
    return behind_as_details(known_worse(answers, split, confidence)) if name == "retain" else {}


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


def audit_notes(
    models: Mapping[str, object], splits: Mapping[str, Split], metrics: Mapping[str, MetricResult]
) -> tuple[str, ...]:
    """What a reader must know besides the numbers.

    Args:
        models: The roles that were given.
        splits: The sets.
        metrics: The results.
    """
    notes = vacuity_notes(models, metrics)
    notes += [sentence[0].upper() + sentence[1:] for sentence in behind_sentences(metrics)]
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
    notes += [
        f"The {len(split.examples)} {split.name} examples have {split.clusters.max() + 1} different {split.kind}s; those of one {split.kind} "
        "count as one in every interval."
        for split in splits.values()
        if split.clusters.max() + 1 < len(split.examples)
    ]
    for name, result in metrics.items():
        cut = result.details.get("truncated_fraction", 0.0)
        if cut > 0.1:
            notes.append(
                f"{name}: {cut:.0%} of the completions were cut; the divergence of what would follow is not counted."
            )
    return tuple(notes)
