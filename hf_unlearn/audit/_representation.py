"""Representation forgetting of one model, from texts or from features: the road of the Evaluate module.

Streams hidden states into moments, so any number of texts will do; values without intervals. The audit, whose sets are bounded, keeps
rows and adds intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_unlearn._arguments import whole_number
from hf_unlearn.audit._checked import check_arguments, check_roles
from hf_unlearn.audit._subjects import common_tokenizer
from hf_unlearn.functional import (
    REPRESENTATION_METRICS,
    LayerMetrics,
    PairedMoments,
    layer_metrics,
    representation_unlearning_score,
)
from hf_unlearn.inference import (
    FeatureSettings,
    LoadedModel,
    ModelLike,
    check_token_ids,
    encode_prompts,
    given_rows,
    load_model,
    representation_moments,
    share_starting_weights,
)


SPLITS = ("forget", "retain")
Features = Sequence | np.ndarray | Mapping[int, Sequence | np.ndarray]
"""Rows of one layer, or of several by layer."""


@dataclass(frozen=True)
class RepresentationMeasurement:
    """Metrics per split and layer, and over layers.

    Attributes:
        layers: Per split ("forget", "retain") and layer.
        space: "feature" or "gram".
        num_examples: Rows per split.
        scores: What needs both splits: `forget_retain_asymmetry`, `cka_asymmetry`, `representation_unlearning_score`; None where not
            defined.
        settings: What else decides the numbers (pooling, projection, layers of each model).
    """

    layers: dict[str, dict[int, LayerMetrics]]
    space: str
    num_examples: dict[str, int]
    scores: dict[str, float | None] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)

    def mean(self, split: str, name: str) -> float | None:
        """Mean over the layers where a metric is defined; None where it is nowhere."""
        values = [metrics.values.get(name) for metrics in self.layers[split].values()]
        defined = [value for value in values if value is not None]
        return float(np.mean(defined)) if defined else None

    def to_dict(self) -> dict[str, object]:
        """Plain Python values: means over layers under the metric's name (`retain_…` for the retain split), `layers`, `reasons`."""
        result: dict[str, object] = {}
        reasons: dict[str, str] = {}
        by_layer: dict[str, dict[str, float | None]] = {}
        for split, layers in self.layers.items():
            prefix = "" if split == "forget" else f"{split}_"
            names = list(next(iter(layers.values())).values)
            result |= {prefix + name: self.mean(split, name) for name in names}
            for layer, metrics in layers.items():
                entry = by_layer.setdefault(str(layer), {})
                entry |= {prefix + name: value for name, value in metrics.values.items()}
                reasons |= {f"{prefix}{name} at layer {layer}": why for name, why in metrics.reasons.items()}
        counts = {f"num_{split}_examples": count for split, count in self.num_examples.items()}
        return {
            **result,
            **self.scores,
            "layers": by_layer,
            "reasons": reasons,
            "space": self.space,
            **counts,
            **self.settings,
        }


def measure_representation(
    *,
    texts: Sequence[str] | Sequence[Sequence[int]] | Sequence[Mapping[str, object]],
    candidate: ModelLike,
    reference: ModelLike,
    original: ModelLike | None = None,
    split: Sequence[str] | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    space: str = "auto",
    settings: FeatureSettings | None = None,
    debiased: bool = True,
    progress: bool = True,
) -> RepresentationMeasurement:
    """Did the hidden states go where retraining would have taken them?

    Args:
        texts: Texts as the models see them (question and answer together), token ids, or model inputs: `input_ids` with `labels` on the answer,
            `pixel_values`, ….
        candidate: The unlearned model: loaded, path or Hub id; any kind that has hidden states.
        reference: Trained the same way without the forget set.
        original: The model before unlearning. Without it there is only geometry (CKA, principal directions).
        split: "forget" or "retain" for each text; default: all forget.
        processing_class: The tokenizer; default: the one saved with the models.
        space: "feature" where the models share their starting weights, "gram" where they do not, "auto" looks at the weights.
        settings: Pooling, layers, projection, batch size.
        debiased: Which estimator of CKA.
        progress: Whether to show progress bars.

    Returns:
        Values per layer and over layers; see `RepresentationMeasurement`.

    Raises:
        ValueError: No texts, fewer than the estimator needs, an unknown space, split, pooling or layer, different depths or (in
            feature space) widths, a model without hidden states, or one without a tokenizer where texts are given.
    """
    rows = given_rows(texts, "texts")
    _check_choices(space, split, len(rows))
    settings = settings or FeatureSettings()
    check_arguments(debiased=debiased, progress=progress)
    roles = {"reference": reference, "candidate": candidate, "original": original}
    given = check_roles(roles, processing_class, kind="any")
    models = {name: load_model(model, kind="any") for name, model in given.items()}
    inputs: Sequence[Mapping[str, object]] = rows
    if not isinstance(rows[0], Mapping):
        has_texts = any(isinstance(row, str) for row in rows)
        tokenizer = common_tokenizer(given, processing_class, needed=True) if has_texts else None
        inputs = [{"input_ids": ids} for ids in encode_prompts(rows, tokenizer, name="texts")]
    for model in models.values():
        # A row is any mapping here, as models take it; only those with ids have ids to be checked.
        check_token_ids(model, [row["input_ids"] for row in inputs if "input_ids" in row], name="texts")  # type: ignore[misc]
    indices = _by_split(split, len(rows))
    _check_counts(indices, debiased)
    used = choose_space(models) if space == "auto" else space
    found = {
        name: representation_moments(
            models, [inputs[index] for index in at], settings, progress=progress, label=f"hidden states {name}"
        )
        for name, at in indices.items()
    }
    some = next(iter(found.values()))
    widths = sorted({width for sizes in some.widths.values() for width in sizes.values()})
    described: dict[str, object] = {
        "pooling": settings.pooling,
        "projected_to": settings.max_width if widths[-1] > settings.max_width else None,
        "projection_seed": settings.seed if widths[-1] > settings.max_width else None,
    }
    return _measurement(
        {name: part.moments for name, part in found.items()}, used, original is not None, debiased, described
    )


def representation_from_features(
    candidate_features: Features,
    reference_features: Features,
    original_features: Features | None = None,
    *,
    split: Sequence[str] | None = None,
    space: str = "auto",
    debiased: bool = True,
) -> RepresentationMeasurement:
    """The same where someone else has taken the features: any model, any framework, also images.

    Args:
        candidate_features: Rows, shape `(examples, width)`, or a mapping from layer to rows.
        reference_features: The same of the reference, rows matched.
        original_features: The same of the original.
        split: "forget" or "retain" for each row; default: all forget.
        space: "auto" takes "feature" where centred rows of original and reference point the same way (mean cosine above 0.5: they share
            a basis), else "gram".
        debiased: Which estimator of CKA.

    Raises:
        ValueError: Other layers or counts of rows, features that are not finite, or as `measure_representation`.
    """
    given = {"candidate": candidate_features, "reference": reference_features, "original": original_features}
    layered = {name: _by_layer(value) for name, value in given.items() if value is not None}
    layers = {name: sorted(rows) for name, rows in layered.items()}
    if any(found != layers["candidate"] for found in layers.values()):
        raise ValueError(f"features must be of the same layers for all models, got {layers}.")
    count = len(next(iter(layered["candidate"].values())))
    _check_choices(space, split, count)
    indices = _by_split(split, count)
    _check_counts(indices, debiased)
    moments = {
        name: {
            layer: PairedMoments.from_rows({model: _take(rows[layer], at, count) for model, rows in layered.items()})
            for layer in layers["candidate"]
        }
        for name, at in indices.items()
    }
    if space == "auto":
        space = "feature" if _share_basis(next(iter(moments.values()))) else "gram"
    return _measurement(moments, space, original_features is not None, debiased, {})


def choose_space(models: Mapping[str, LoadedModel]) -> str:
    """ "feature" where all models share their starting weights, else "gram"."""
    reference = models["reference"]
    related = all(share_starting_weights(reference, model) for model in models.values() if model is not reference)
    return "feature" if related else "gram"


def both_splits(forget: Mapping[str, float | None], retain: Mapping[str, float | None]) -> dict[str, float | None]:
    """What needs both splits, from the means over layers (or the values of one layer) of each."""

    def difference(first: float | None, second: float | None) -> float | None:
        return None if first is None or second is None else first - second

    pair = forget.get("cka_to_original"), retain.get("cka")
    return {
        "forget_retain_asymmetry": difference(retain.get("residual_ratio"), forget.get("residual_ratio")),
        "cka_asymmetry": difference(forget.get("cka"), retain.get("cka")),
        "representation_unlearning_score": None
        if pair[0] is None or pair[1] is None
        else representation_unlearning_score(pair[0], pair[1]),
    }


def _measurement(
    moments: Mapping[str, Mapping[int, PairedMoments]],
    space: str,
    has_original: bool,
    debiased: bool,
    settings: dict[str, object],
) -> RepresentationMeasurement:
    original = "original" if has_original else None
    layers = {
        split: {
            layer: layer_metrics(part, original=original, space=space, debiased=debiased)
            for layer, part in by_layer.items()
        }
        for split, by_layer in moments.items()
    }
    counts = {split: next(iter(by_layer.values())).count for split, by_layer in moments.items()}
    result = RepresentationMeasurement(layers, space, counts, {}, settings)
    if set(layers) == set(SPLITS):
        names = [*REPRESENTATION_METRICS, "cka_to_original"]
        means = {split: {name: result.mean(split, name) for name in names} for split in SPLITS}
        result.scores.update(both_splits(means["forget"], means["retain"]))
    return result


def _check_choices(space: str, split: Sequence[str] | None, count: int) -> None:
    check_arguments(space=space)
    if not count:
        raise ValueError("there are no examples.")
    if split is None:
        return
    if len(split) != count:
        raise ValueError(
            f"split must say forget or retain for each of the {count} examples, it has {len(split)} entries."
        )
    unknown = sorted(set(split) - set(SPLITS))
    if unknown:
        raise ValueError(f"unknown split {unknown[0]!r}; each entry must be 'forget' or 'retain'.")


def _check_counts(indices: Mapping[str, Sequence[int]], debiased: bool) -> None:
    needed = 4 if debiased else 2
    for name, rows in indices.items():
        if len(rows) < needed:
            raise ValueError(
                f"{len(rows)} {name} examples are too few: CKA needs at least {needed}{' when debiased' if debiased else ''}."
            )


def _by_split(split: Sequence[str] | None, count: int) -> dict[str, list[int]]:
    if split is None:
        return {"forget": list(range(count))}
    found = {name: [at for at, value in enumerate(split) if value == name] for name in SPLITS}
    return {name: rows for name, rows in found.items() if rows}


def _by_layer(features: Features) -> dict[int, np.ndarray]:
    if isinstance(features, Mapping):
        if not features:
            raise ValueError("features by layer must name at least one layer.")
        layers = {_layer_number(layer): np.asarray(rows, np.float64) for layer, rows in features.items()}
    else:
        layers = {0: np.asarray(features, np.float64)}
    for layer, rows in layers.items():
        if rows.ndim > 1 and 0 in rows.shape[1:]:
            raise ValueError(
                f"features of layer {layer} have no width: expected (examples, width) with a width of at least 1, got {rows.shape}."
            )
    return layers


def _layer_number(layer: object) -> int:
    """JSON knows texts only as keys."""
    return int(layer) if isinstance(layer, str) and layer.isdecimal() else whole_number("a layer", layer, minimum=0)


def _take(rows: np.ndarray, at: Sequence[int], count: int) -> np.ndarray:
    if rows.ndim != 2 or len(rows) != count:
        raise ValueError(f"features must be rows of shape ({count}, width), matched between models; got {rows.shape}.")
    return rows[list(at)]


def _share_basis(moments: Mapping[int, PairedMoments]) -> bool:
    cosines = []
    for part in moments.values():
        a, b = ("original", "reference") if "original" in part.names else ("candidate", "reference")
        if part.shifts[a].size != part.shifts[b].size:
            return False
        own = np.trace(part.covariance(a, a)) * np.trace(part.covariance(b, b))
        cosines.append(float(np.trace(part.covariance(a, b)) / np.sqrt(own)) if own > 0 else 0.0)
    return bool(np.mean(cosines) > 0.5)
