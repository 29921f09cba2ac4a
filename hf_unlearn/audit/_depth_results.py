"""How deep unlearning went, from patching effects, the logit lens and a probe; with intervals, floor and relative. Runs no model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_unlearn.audit._feature_evidence import MIN_EXAMPLES, FeatureEvidence
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.functional import bootstrap_means, linear_probe, percentile_interval, relative, shares_of_effects


UNITS = {
    "unlearning_depth_score": "share of what patching retrained layers into the original removes of the answer",
    "logit_lens_erasure": "share of what a logit lens reads of the answer in the original only that is gone",
}


def depth_results(evidence: FeatureEvidence, options: Mapping[str, float | int]) -> dict[str, MetricResult]:
    """`unlearning_depth_score` and `logit_lens_erasure`, where what they need is there.

    Args:
        evidence: What the layers left.
        options: `confidence`, `num_resamples`, `seed`.
    """
    effects = {"unlearning_depth_score": evidence.patching}
    if "original" in evidence.lens:
        start = evidence.lens["original"]
        effects["logit_lens_erasure"] = {role: start - read for role, read in evidence.lens.items()}
    results = {}
    for name, by_role in effects.items():
        if {"reference", "candidate"} <= set(by_role):
            stranger = name == "unlearning_depth_score" and evidence.shares_basis.get("twin") is False
            found = _shares(name, by_role, evidence.clusters("forget"), options, stranger)
            if found is not None:
                results[name] = found
    return results


def _shares(
    name: str,
    effects: Mapping[str, np.ndarray],
    clusters: np.ndarray | None,
    options: Mapping[str, float | int],
    stranger: bool,
) -> MetricResult | None:
    """Mean over examples of each one's bounded share; None where no layer of any example says anything."""
    shares = {
        role: shares_of_effects(effects["reference"], effects[role])
        for role in ("candidate", "twin")
        if role in effects
    }
    defined = np.isfinite(shares["candidate"])
    if not defined.any():
        return None
    value = float(shares["candidate"][defined].mean())
    twin = float(shares["twin"][defined].mean()) if "twin" in shares else None
    return MetricResult(
        value,
        _interval(shares["candidate"], defined, clusters, options),
        int(defined.sum()),
        UNITS[name],
        "higher",
        floor=twin,
        start=0.0,
        **_place(value, twin, stranger=stranger),
    )


def _interval(
    shares: np.ndarray, defined: np.ndarray, clusters: np.ndarray | None, options: Mapping[str, float | int]
) -> tuple[float, float] | None:
    number = np.arange(len(shares)) if clusters is None else clusters[: len(shares)]
    _, number = np.unique(number[defined], return_inverse=True)
    if number.max() == 0:
        return None
    draw = {"num_resamples": int(options["num_resamples"]), "seed": int(options["seed"])}
    return percentile_interval(
        bootstrap_means(shares[defined], clusters=number, **draw), confidence=float(options["confidence"])
    )


def _place(value: float, floor: float | None, *, stranger: bool) -> dict[str, Any]:
    """`relative` of a share that starts at 0, or why there is none."""
    if floor is None:
        why = "the twin does not share the original's starting weights" if stranger else "needs a twin and an original"
        return {"relative_reason": why}
    place = relative(value, floor=floor, start=0.0, higher_is_better=True)
    return {"relative": place.value, "relative_reason": place.reason}


def probe_results(
    evidence: FeatureEvidence, layers: list[int], options: Mapping[str, float | int], notes: list[str]
) -> dict[str, MetricResult]:
    """AUC of a linear probe between forget and holdout, by layer; what counts is the excess over the reference's."""
    forget, holdout = evidence.features.get("forget", {}), evidence.features.get("holdout", {})
    if "candidate" not in forget or "candidate" not in holdout:
        return {}
    counts = [len(side["candidate"][layers[0]]) for side in (forget, holdout)]
    distinct = [
        count if own is None else int(own.max()) + 1
        for count, own in zip(counts, map(evidence.clusters, ("forget", "holdout")), strict=True)
    ]
    if min(distinct) < MIN_EXAMPLES:
        notes.append(f"No probe was fitted: {distinct[0]} forget and {distinct[1]} holdout prompts are too few.")
        return {}
    settings: dict[str, Any] = {name: options[name] for name in ("confidence", "num_resamples", "seed")}
    settings["clusters"] = evidence.clusters("forget", "holdout")
    found = {
        role: [linear_probe(forget[role][layer], holdout[role][layer], **settings) for layer in layers]
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
    return {"probe_auc": dataclasses.replace(result(list(range(len(layers)))), by_layer=by_layer)}
