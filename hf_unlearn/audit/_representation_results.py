"""From feature rows of bounded sets to results with intervals, floor, start and relative, per layer and over layers. Runs no model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hf_unlearn.audit._depth_results import depth_results, probe_results
from hf_unlearn.audit._feature_evidence import MIN_EXAMPLES, FeatureEvidence, LayerRows
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._representation import both_splits
from hf_unlearn.functional import (
    REPRESENTATION_METRICS,
    RESAMPLED,
    PairedMoments,
    excess_over_twins,
    layer_metrics,
    leave_one_out,
    one_step_resamples,
    percentile_interval,
    relative,
)


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
        tables[split] = _tables(rows, layers, evidence, evidence.clusters(split), options)
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
    results |= depth_results(evidence, options) | probe_results(evidence, layers, options, notes)
    return results, notes


def _tables(
    rows: Mapping[str, LayerRows],
    layers: list[int],
    evidence: FeatureEvidence,
    clusters: np.ndarray | None,
    options: Mapping[str, float | int],
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
    draw = {"clusters": clusters, "num_resamples": int(options["num_resamples"]), "seed": int(options["seed"])}
    if clusters is not None and clusters.max() == 0:
        without = {}  # one prompt has nothing to be resampled with
    return {
        name: _Table(
            {role: np.array(column) for role, column in by_role.items()},
            {
                role: one_step_resamples(np.array(by_role[role]), np.stack(columns, 1), **draw)  # type: ignore[arg-type]
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
    return dataclasses.replace(whole, by_layer=by_layer, undefined=table.reasons)


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
    # The original has changed nothing, so that a measure of the change has no start.
    no_start = unit == UNITS["directional_agreement"]
    reason: str | None = (
        "start is not defined: the original has no change" if no_start else "needs a twin and an original"
    )
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
    return {"excess_over_twins": MetricResult(mean, None, count, *meaning, by_layer=by_layer)}
