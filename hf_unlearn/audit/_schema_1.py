"""Reports of schema 1 as reports of schema 2: published cards stay readable. What schema 1 did not know is left out, never guessed."""

from collections.abc import Mapping
from typing import Any


_SPLITS = ("retain", "holdout")
_FORGET_ONLY = ("forget_probability",)
_IDEALS = {"progress": 1.0, "directional_agreement": 1.0}
_HIDDEN = (
    *("progress", "directional_agreement", "off_direction", "residual_ratio", "residual_concentration", "cka"),
    *(
        "anchored_erasure",
        "pca_similarity",
        "pca_shift",
        "mean_pca_distance",
        "forget_retain_asymmetry",
        "cka_asymmetry",
    ),
    *(
        "representation_unlearning_score",
        "excess_over_twins",
        "unlearning_depth_score",
        "logit_lens_erasure",
        "probe_auc",
    ),
)
COUNTED_OTHERWISE = ("forget_retain_asymmetry", "cka_asymmetry", "representation_unlearning_score")
"""Their `n` was the smallest set's, the holdout set's too, on which they are not measured."""
SCHEMA_1_METRICS = ("fade", "probability", *_HIDDEN)
"""What schema 1 knew."""


def upgrade(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same report in the form of schema 2.

    Args:
        data: Parsed JSON, schema 1.
    """
    metrics = {}
    for old, result in data["metrics"].items():
        name, split = new_name(str(old))
        metrics[f"{name}/{split}"] = _result(name, split, result)
    findings = [*_equal(data["provenance"]), *_knowledge(data["metrics"])]
    return {**data, "metrics": metrics, "findings": findings, "specs": {}}


def new_name(old: str) -> tuple[str, str]:
    """Name and split of a result that schema 1 named by one word.

    Example:
        >>> new_name("retain_fade"), new_name("forget_probability"), new_name("forget_retain_asymmetry")
        (('fade', 'retain'), ('probability', 'forget'), ('forget_retain_asymmetry', 'forget'))
    """
    if old in _FORGET_ONLY:
        return old.removeprefix("forget_"), "forget"
    split = next((split for split in _SPLITS if old.startswith(f"{split}_")), None)
    return (old, "forget") if split is None else (old.removeprefix(f"{split}_"), split)


def _result(name: str, split: str, result: Mapping[str, Any]) -> dict[str, Any]:
    family = "hidden states" if name in _HIDDEN else "outputs"
    reference = result.get("others", {}).get("reference")
    ideal = reference if reference is not None else _ideal(name, result)
    layers = {layer: _result(name, split, part) for layer, part in result.get("by_layer", {}).items()}
    if name in _IDEALS:
        # Overshoot counted as progress there; here it is distance.
        result = {key: value for key, value in result.items() if not key.startswith("relative")}
        result["relative_reason"] = "schema 1 did not measure it by distance to the ideal"
    plain = {**result, "name": name, "split": split, "family": family, "ideal": ideal, "by_layer": layers}
    return {key: value for key, value in plain.items() if value is not None or key == "confidence_interval"}


def _ideal(name: str, result: Mapping[str, Any]) -> float | None:
    if name.endswith("_asymmetry"):
        return None
    return _IDEALS.get(name, {"lower": 0.0, "higher": 1.0}.get(str(result.get("direction"))))


def _equal(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    models = provenance["models"]
    return [
        {"kind": "equal", "role": models[role]["same_as"], "other": role}
        for role in models
        if "same_as" in models[role]
    ]


def _knowledge(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    forget = metrics.get("forget_probability", {})
    details = forget.get("details", {})
    if "known_before" in details:
        value, low, high = (details.get(f"original_over_reference{end}", 0.0) for end in ("", "_low", "_high"))
        kind = "known before" if details["known_before"] else "known better after" if high < 0 else "not known before"
        found.append({"kind": kind, "role": "original", "value": value, "interval": [low, high], "n": forget.get("n")})
    retain = metrics.get("retain_probability", {})
    for role in ("reference", "twin"):
        value, low, high = (retain.get("details", {}).get(f"{role}_behind{end}") for end in ("", "_low", "_high"))
        if value is not None:
            found.append(
                {"kind": "not retrained", "role": role, "value": value, "interval": [low, high], "n": retain.get("n")}
            )
    return found
