"""From feature rows of bounded sets to results with intervals, floor, start and relative, per layer and over layers. Runs no model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._representation import both_splits
from hf_unlearn.functional import (
    REPRESENTATION_METRICS,
    RESAMPLED,
    PairedMoments,
    bootstrap_means,
    excess_over_twins,
    layer_metrics,
    leave_one_out,
    linear_probe,
    logit_lens_erasure,
    one_step_resamples,
    percentile_interval,
    relative,
    unlearning_depth_score,
)


MIN_EXAMPLES = 5
UNITS = {
    "progress": "share of the way from original to retrained",
    "directional_agreement": "cosine of what unlearning and what retraining changed",
    "off_direction": "part of the change beside retraining's direction, in units of retraining's change",
    "residual_ratio": "distance to the retrained states, in units of retraining's change",
    "residual_concentration": "share of the residue in the principal subspace of retraining's change",
    "cka": "linear CKA with the retrained model, debiased",
    "anchored_erasure": "share of the way from original to retrained geometry",
    "pca_similarity": "absolute cosine of first principal directions",
    "pca_shift": "distance of means along the retrained model's first principal direction",
    "mean_pca_distance": "distance of means in the retrained model's first principal plane",
}
LayerRows = Mapping[int, np.ndarray]


@dataclass
class FeatureEvidence:
    """What the models' layers left behind.

    Attributes:
        features: Per split, by role, by layer; rows of one split are matched between roles.
        space: Of the comparison.
        shares_basis: Per role, whether it shares its starting weights with the reference.
        patching: By donor role, shape `(examples, layers)`: what the original loses with the donor's layer.
        lens: By role, shape `(examples, layers)`.
    """

    features: dict[str, dict[str, LayerRows]] = field(default_factory=dict)
    space: str = "feature"
    shares_basis: dict[str, bool] = field(default_factory=dict)
    patching: dict[str, np.ndarray] = field(default_factory=dict)
    lens: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _Table:
    """One metric on one split: by role, values by layer (NaN = not defined) and resamples `(num_resamples, layers)` or None."""

    values: dict[str, np.ndarray]
    resamples: dict[str, np.ndarray | None]
    reasons: dict[str, str]


def representation_results(
    evidence: FeatureEvidence, options: Mapping[str, float | int]
) -> tuple[dict[str, MetricResult], list[str]]:
    """All results on hidden states, by name, and notes on what is not among them.

    Args:
        evidence: What the layers left.
        options: `confidence`, `num_resamples`, `seed`.
    """
    results: dict[str, MetricResult] = {}
    notes: list[str] = []
    tables: dict[str, dict[str, _Table]] = {}
    layers: list[int] = []
    for split in ("forget", "retain"):
        rows = evidence.features.get(split, {})
        if "candidate" not in rows:
            continue
        layers = sorted(rows["candidate"])
        count = len(rows["candidate"][layers[0]])
        if count < MIN_EXAMPLES:
            notes.append(f"Hidden states of {count} {split} examples were not compared; {MIN_EXAMPLES} are needed.")
            continue
        tables[split] = _tables(rows, layers, evidence, options)
        for name, direction in REPRESENTATION_METRICS.items():
            if name not in tables[split]:
                continue
            key = name if split == "forget" else f"{split}_{name}"
            result = _result(tables[split][name], layers, count, UNITS[name], direction, options)
            if result is None:
                why = next(iter(tables[split][name].reasons.values()), "not defined")
                notes.append(f"{key} is not defined on any layer: {why}.")
            elif name == "residual_concentration":
                results[key] = _beside_diffuse(result, tables[split], layers)
            else:
                results[key] = result
    if set(tables) == {"forget", "retain"}:
        results |= _both(tables, layers, evidence, options)
    if (
        "twin" in evidence.features.get("forget", {})
        and "original" in evidence.features["forget"]
        and "forget" in tables
    ):
        results |= _excess(evidence, layers)
    results |= _depth(evidence, options) | _lens(evidence, options) | _probe(evidence, layers, options, notes)
    return results, notes


def _tables(
    rows: Mapping[str, LayerRows], layers: list[int], evidence: FeatureEvidence, options: Mapping[str, float | int]
) -> dict[str, _Table]:
    roles = [role for role in ("candidate", "twin", "original") if role in rows]
    original = "original" if "original" in rows else None
    values: dict[str, dict[str, list[float]]] = {}
    without: dict[str, dict[str, list[np.ndarray]]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for layer in layers:
        matrices = {role: rows[role][layer] for role in rows}
        moments = PairedMoments.from_rows(matrices)
        for role in roles:
            choice = {
                "original": original,
                "space": evidence.space,
                "shared_basis": evidence.shares_basis.get(role, False)
                and evidence.shares_basis.get("original", False),
            }
            found = layer_metrics(moments, role, **choice)  # type: ignore[arg-type]
            for name, value in found.values.items():
                values.setdefault(name, {}).setdefault(role, []).append(np.nan if value is None else value)
            if role == "candidate":
                for name, why in found.reasons.items():
                    reasons.setdefault(name, {})[str(layer)] = why
            left_out = leave_one_out(matrices, role, **choice)  # type: ignore[arg-type]
            for name in RESAMPLED:
                if name in values:
                    nothing = np.full(len(matrices[role]), np.nan)
                    without.setdefault(name, {}).setdefault(role, []).append(left_out.get(name, nothing))
    draw = {"num_resamples": int(options["num_resamples"]), "seed": int(options["seed"])}
    return {
        name: _Table(
            {role: np.array(column) for role, column in by_role.items()},
            {
                role: one_step_resamples(np.array(by_role[role]), np.stack(columns, 1), **draw)
                for role, columns in without.get(name, {}).items()
            },
            reasons.get(name, {}),
        )
        for name, by_role in values.items()
    }


def _result(
    table: _Table,
    layers: list[int],
    count: int,
    unit: str,
    direction: str,
    options: Mapping[str, float | int],
) -> MetricResult | None:
    """Mean over the layers where every role that is defined somewhere is defined, and each layer by itself."""
    roles = [role for role, values in table.values.items() if np.isfinite(values).any()]
    if "candidate" not in roles:
        return None
    shared = np.all([np.isfinite(table.values[role]) for role in roles], axis=0)
    by_layer = {}
    for at, layer in enumerate(layers):
        if np.isfinite(table.values["candidate"][at]):
            part = {role: table.values[role][[at]] for role in roles if np.isfinite(table.values[role][at])}
            by_layer[str(layer)] = _one(part, _columns(table, list(part), [at]), count, unit, direction, options)
    if not shared.any():
        roles, shared = ["candidate"], np.isfinite(table.values["candidate"])
    chosen = np.flatnonzero(shared).tolist()
    values = {role: table.values[role][chosen] for role in roles}
    whole = _one(values, _columns(table, roles, chosen), count, unit, direction, options)
    return _with_layers(whole, by_layer, table.reasons)


def _beside_diffuse(result: MetricResult, table: Mapping[str, _Table], layers: list[int]) -> MetricResult:
    """What a residue without direction would have: subspace dimension / width."""
    diffuse = dict(zip(map(str, layers), table["diffuse_concentration"].values["candidate"], strict=True))
    by_layer = {
        layer: dataclasses.replace(part, details={"diffuse": float(diffuse[layer])})
        for layer, part in result.by_layer.items()
    }
    mean = float(np.mean([part.details["diffuse"] for part in by_layer.values()]))
    return dataclasses.replace(result, details={"diffuse": mean}, by_layer=by_layer)


def _columns(table: _Table, roles: list[str], at: list[int]) -> dict[str, np.ndarray | None]:
    found: dict[str, np.ndarray | None] = {}
    for role in roles:
        resamples = table.resamples.get(role)
        found[role] = None if resamples is None else resamples[:, at].mean(1)
    return found


def _one(
    values: Mapping[str, np.ndarray],
    resamples: Mapping[str, np.ndarray | None],
    count: int,
    unit: str,
    direction: str,
    options: Mapping[str, float | int],
) -> MetricResult:
    """A result from values by layer, averaged, and resamples of the average."""
    means = {role: float(value.mean()) for role, value in values.items()}
    usable = {role: sample for role, sample in resamples.items() if sample is not None and np.isfinite(sample).all()}
    confidence = float(options["confidence"])

    def interval(role: str) -> tuple[float, float] | None:
        return percentile_interval(usable[role], confidence=confidence) if role in usable else None

    place = None
    reason: str | None = "needs a twin and an original"
    if {"twin", "original"} <= set(means):
        stacked = None
        if {"candidate", "twin", "original"} <= set(usable):
            stacked = np.stack([usable[role] for role in ("candidate", "twin", "original")], 1)
        place = relative(
            means["candidate"],
            floor=means["twin"],
            start=means["original"],
            resamples=stacked,
            confidence=confidence,
            higher_is_better=direction != "lower",
        )
        reason = place.reason
    return MetricResult(
        value=means["candidate"],
        confidence_interval=interval("candidate"),
        n=count,
        unit=unit,
        direction=direction,
        floor=means.get("twin"),
        start=means.get("original"),
        floor_confidence_interval=interval("twin"),
        start_confidence_interval=interval("original"),
        relative=place.value if place else None,
        relative_confidence_interval=place.confidence_interval if place else None,
        relative_reason=reason,
    )


def _with_layers(whole: MetricResult, by_layer: dict[str, MetricResult], undefined: dict[str, str]) -> MetricResult:
    return dataclasses.replace(whole, by_layer=by_layer, undefined=undefined)


def _both(
    tables: Mapping[str, Mapping[str, _Table]],
    layers: list[int],
    evidence: FeatureEvidence,
    options: Mapping[str, float | int],
) -> dict[str, MetricResult]:
    """Asymmetry and representation unlearning score, by layer and over layers, from both splits' values and resamples."""
    count = min(len(rows["candidate"][layers[0]]) for rows in evidence.features.values() if "candidate" in rows)
    results = {}
    meanings = {
        "forget_retain_asymmetry": ("residual_ratio on retain minus on forget", "reference"),
        "cka_asymmetry": ("1 − CKA on retain minus on forget", "reference"),
        "representation_unlearning_score": (
            "harmonic mean of change on forget and likeness to the retrained model on retain",
            "higher",
        ),
    }
    needed = ("residual_ratio", "cka", "cka_to_original")
    forget, retain = ({name: table[name] for name in needed if name in table} for table in tables.values())
    for name, (unit, direction) in meanings.items():
        values: dict[str, np.ndarray] = {}
        resamples: dict[str, np.ndarray | None] = {}
        for role in forget["cka"].values:
            sides = [
                {key: table.values[role] for key, table in side.items() if role in table.values}
                for side in (forget, retain)
            ]
            drawn = [
                {
                    key: table.resamples.get(role)
                    for key, table in side.items()
                    if table.resamples.get(role) is not None
                }
                for side in (forget, retain)
            ]
            values[role] = _by_columns(name, sides[0], sides[1])
            if np.isfinite(values[role]).any():
                flat = _by_columns(name, *({key: rows.ravel() for key, rows in side.items()} for side in drawn))  # type: ignore[union-attr]
                resamples[role] = flat.reshape(-1, len(layers)) if flat.size else None
        table = _Table(values, resamples, {})
        result = _result(table, layers, count, unit, direction, options)
        if result is not None:
            results[name] = _unranked(result) if name.endswith("asymmetry") else result
    return results


def _unranked(result: MetricResult) -> MetricResult:
    """A difference between two sets is even at 0 and has no better side."""
    reason = "0 is even; there is no better side"
    plain = dataclasses.replace(result, relative=None, relative_confidence_interval=None, relative_reason=reason)
    return dataclasses.replace(plain, by_layer={layer: _unranked(part) for layer, part in result.by_layer.items()})


def _by_columns(name: str, forget: Mapping[str, np.ndarray], retain: Mapping[str, np.ndarray]) -> np.ndarray:
    """One score for each entry of equally long columns; NaN where it is not defined."""
    length = min((len(column) for side in (forget, retain) for column in side.values()), default=0)
    scores = []
    for at in range(length):
        sides = [
            {key: float(column[at]) if np.isfinite(column[at]) else None for key, column in side.items()}
            for side in (forget, retain)
        ]
        score = both_splits(sides[0], sides[1])[name]
        scores.append(np.nan if score is None else score)
    return np.array(scores)


def _excess(evidence: FeatureEvidence, layers: list[int]) -> dict[str, MetricResult]:
    rows = evidence.features["forget"]
    by_layer = {}
    count = len(rows["candidate"][layers[0]])
    meaning = ("distance to retrained models beyond their own, 1 = like the original", "lower")
    for layer in layers:
        moments = PairedMoments.from_rows({role: rows[role][layer] for role in rows})
        value = excess_over_twins(moments, "candidate", ["reference", "twin"], "original", space=evidence.space)
        if value is not None:
            by_layer[str(layer)] = MetricResult(value, None, count, *meaning)
    if not by_layer:
        return {}
    mean = float(np.mean([result.value for result in by_layer.values()]))
    return {"excess_over_twins": _with_layers(MetricResult(mean, None, count, *meaning), by_layer, {})}


def _depth(evidence: FeatureEvidence, options: Mapping[str, float | int]) -> dict[str, MetricResult]:
    effects = evidence.patching
    if not {"reference", "candidate"} <= set(effects):
        return {}
    means = {role: column.mean(0) for role, column in effects.items()}
    value = unlearning_depth_score(means["reference"], means["candidate"])
    if value is None:
        return {}
    stacked = np.concatenate([effects["reference"], effects["candidate"]], 1)
    depth = effects["reference"].shape[1]
    scores = [unlearning_depth_score(row[:depth], row[depth:]) for row in _resampled(stacked, options)]
    twin = unlearning_depth_score(means["reference"], means["twin"]) if "twin" in means else None
    return {
        "unlearning_depth_score": MetricResult(
            value,
            _interval(scores, options),
            len(stacked),
            "share of what patching retrained layers into the original removes of the answer",
            "higher",
            floor=twin,
            start=0.0,
            **_place(value, twin, stranger=evidence.shares_basis.get("twin") is False),
        )
    }


def _lens(evidence: FeatureEvidence, options: Mapping[str, float | int]) -> dict[str, MetricResult]:
    read = evidence.lens
    if not {"reference", "candidate", "original"} <= set(read):
        return {}
    roles = ("candidate", "reference", "original")
    value = logit_lens_erasure(*(read[role].mean(0) for role in roles))
    if value is None:
        return {}
    stacked = np.concatenate([read[role] for role in roles], 1)
    depth = read["reference"].shape[1]
    scores = [logit_lens_erasure(*np.split(row, [depth, 2 * depth])) for row in _resampled(stacked, options)]
    twin = logit_lens_erasure(*(read[role].mean(0) for role in ("twin", *roles[1:]))) if "twin" in read else None
    return {
        "logit_lens_erasure": MetricResult(
            value,
            _interval(scores, options),
            len(stacked),
            "share of what a logit lens reads of the answer in the original only that is gone",
            "higher",
            floor=twin,
            start=0.0,
            **_place(value, twin),
        )
    }


def _place(value: float, floor: float | None, *, stranger: bool = False) -> dict[str, Any]:
    """`relative` of a share that starts at 0, or why there is none."""
    if floor is None:
        why = "the twin does not share the original's starting weights" if stranger else "needs a twin and an original"
        return {"relative_reason": why}
    place = relative(value, floor=floor, start=0.0, higher_is_better=True)
    return {"relative": place.value, "relative_reason": place.reason}


def _resampled(columns: np.ndarray, options: Mapping[str, float | int]) -> np.ndarray:
    return bootstrap_means(columns, num_resamples=int(options["num_resamples"]), seed=int(options["seed"]))


def _interval(scores: list[float | None], options: Mapping[str, float | int]) -> tuple[float, float] | None:
    if any(score is None for score in scores):
        return None
    return percentile_interval(np.array(scores, float), confidence=float(options["confidence"]))


def _probe(
    evidence: FeatureEvidence, layers: list[int], options: Mapping[str, float | int], notes: list[str]
) -> dict[str, MetricResult]:
    """AUC of a linear probe between forget and holdout, by layer; what counts is the excess over the reference's."""
    forget, holdout = evidence.features.get("forget", {}), evidence.features.get("holdout", {})
    if "candidate" not in forget or "candidate" not in holdout:
        return {}
    counts = [len(side["candidate"][layers[0]]) for side in (forget, holdout)]
    if min(counts) < MIN_EXAMPLES:
        notes.append(f"No probe was fitted: {counts[0]} forget and {counts[1]} holdout examples are too few.")
        return {}
    settings = {name: options[name] for name in ("confidence", "num_resamples", "seed")}
    found = {
        role: [linear_probe(forget[role][layer], holdout[role][layer], **settings) for layer in layers]  # type: ignore[arg-type]
        for role in ("candidate", "reference", "original", "twin")
        if role in forget and role in holdout
    }
    columns = {role: np.stack([probe.resamples for probe in probes], 1) for role, probes in found.items()}

    def result(at: list[int]) -> MetricResult:
        means = {role: float(np.mean([probes[index].auc for index in at])) for role, probes in found.items()}
        drawn = {role: column[:, at].mean(1) for role, column in columns.items()}
        confidence = float(options["confidence"])
        excess = percentile_interval(drawn["candidate"] - drawn["reference"], confidence=confidence)
        return MetricResult(
            means["candidate"],
            percentile_interval(drawn["candidate"], confidence=confidence),
            sum(counts),
            "AUC of a cross-validated linear probe, forget against holdout",
            "reference",
            others={role: value for role, value in means.items() if role != "candidate"},
            details={
                "excess_over_reference": means["candidate"] - means["reference"],
                "excess_low": excess[0],
                "excess_high": excess[1],
            },
        )

    by_layer = {str(layer): result([at]) for at, layer in enumerate(layers)}
    return {"probe_auc": _with_layers(result(list(range(len(layers)))), by_layer, {})}
