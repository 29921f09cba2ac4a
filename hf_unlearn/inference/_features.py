"""Representations of examples: hidden states of one or more models, pooled per example, in one pass over the data.

Either streamed into moments, so that memory does not grow with the data, or, for sets of bounded size, kept as rows. Does not know
what is computed from them.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from hf_unlearn._arguments import whole_number, whole_numbers
from hf_unlearn.functional import PairedMoments
from hf_unlearn.inference._batching import batches, right_padded, unpadded
from hf_unlearn.inference._hidden import HiddenReader
from hf_unlearn.inference._memory import Halving, halves
from hf_unlearn.inference._models import undisturbed
from hf_unlearn.inference._rounds import rounds
from hf_unlearn.inference._sharding import gather, my_share
from hf_unlearn.inference._views import View, Viewable, open_view, tell_apart


POOLINGS = ("answer_mean", "last_token", "all_tokens")
FLUSH = 256
"""Pooled rows per update of the moments: enough for the matrix products, and no more to keep."""
Inputs = Mapping[str, object]
"""One example: `input_ids`, optionally `labels` and `attention_mask`; or other inputs of the model, such as `pixel_values`."""


@dataclass(frozen=True)
class FeatureSettings:
    """How hidden states become features.

    Attributes:
        pooling: "answer_mean": one row per example, the mean over the answer's tokens (without labels: over all tokens but the first,
            which attention may have made a sink; images: over all tokens). "last_token": the last of those. "all_tokens": each of
            those is a row.
        layers: 0 = what the first block receives, ℓ = output of block ℓ; None = all blocks.
        match_depth: For models of different depth: layers are those of the first model, of the others at the same relative depth.
        max_width: Wider layers are projected to this width by a seeded random orthogonal map, the same for all models.
        seed: Of the projection.
        batch_size: Examples at a time.
    """

    pooling: str = "answer_mean"
    layers: tuple[int, ...] | None = None
    match_depth: bool = False
    max_width: int = 512
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {self.pooling!r}; choose one of {', '.join(POOLINGS)}.")
        whole_number("batch_size", self.batch_size, minimum=1)
        whole_number("max_width", self.max_width, minimum=2)
        whole_number("seed", self.seed, minimum=0)
        if self.layers is not None:
            whole_numbers("layers", self.layers, minimum=0)


@dataclass(frozen=True)
class Representations:
    """Moments per layer, and what has to be said about them.

    Attributes:
        moments: By layer (of the first model).
        widths: By model and layer, before projection.
        layer_map: By layer, the layer of each model.
    """

    moments: dict[int, PairedMoments]
    widths: dict[str, dict[int, int]] = field(default_factory=dict)
    layer_map: dict[int, dict[str, int]] = field(default_factory=dict)


def representation_moments(
    models: Mapping[str, Viewable],
    examples: Sequence[Inputs],
    settings: FeatureSettings | None = None,
    *,
    progress: bool = True,
    label: str = "hidden states",
) -> Representations:
    """Moments of all models' features on the same examples, in one pass.

    Each process reads its share of the batches; the moments are merged. Never more than a batch of hidden states is in memory.

    Args:
        models: By name; the first one counts the layers. Loaded models that share weights are told apart (`tell_apart`).
        examples: What they read.
        settings: How hidden states become features.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        The same on every process.

    Raises:
        ValueError: No examples, one too short to be pooled, different depths, an unknown layer, a model without hidden states, or
            features that are not finite.
    """
    settings = settings or FeatureSettings()
    opened = {name: open_view(model, kind="any") for name, model in tell_apart(models).items()}
    widths: dict[str, dict[int, int]] = {name: {} for name in opened}
    with undisturbed(*(view.model for view in opened.values())):
        readers, layer_map = _prepare(opened, examples, settings)
        stream = _MomentStream()
        lengths = _lengths(examples)
        plan = batches(lengths, settings.batch_size, opened.values())
        within_memory = Halving(
            lambda batch: _read(readers, layer_map, [examples[index] for index in batch], settings, widths),
            [view.model for view in opened.values()],
            lambda batch: len(batch) * max(1, lengths[batch[0]]),
            halves,
            label,
        )
        for batch in my_share(plan, label=label, progress=progress):
            for _, features in within_memory(batch):
                stream.add(features)
        totals = stream.finish()
    merged: dict[int, PairedMoments] = {}
    for part in gather([totals]):
        for layer, moments in part.items():
            merged[layer] = merged[layer] + moments if layer in merged else moments
    found = {name: {**sizes} for part in gather([widths]) for name, sizes in part.items() if sizes}
    return Representations(merged, found, layer_map)


def feature_rows(
    model: Viewable,
    examples: Sequence[Inputs],
    settings: FeatureSettings | None = None,
    *,
    progress: bool = True,
    label: str = "hidden states",
) -> dict[int, np.ndarray]:
    """Features of one model, kept: for sets of bounded size.

    Args:
        model: Loaded model, path or id.
        examples: What it reads.
        settings: Pooling must give one row per example.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Per layer float32, shape `(examples, width)`, in the order of the examples, the same on every process.

    Raises:
        ValueError: As `representation_moments`; or pooling "all_tokens".
    """
    settings = settings or FeatureSettings()
    if settings.pooling == "all_tokens":
        raise ValueError("rows are kept one per example: pooling 'all_tokens' can only be streamed into moments.")
    opened = open_view(model, kind="any")
    with undisturbed(opened.model):
        readers, layer_map = _prepare({"model": opened}, examples, settings)

    def read(batch: list[int]) -> dict[int, np.ndarray]:
        found = _read(readers, layer_map, [examples[index] for index in batch], settings, {"model": {}})
        return {layer: rows["model"].astype(np.float32) for layer, rows in found.items()}

    lengths = _lengths(examples)
    done = rounds(
        batches(lengths, settings.batch_size, [opened]),
        read,
        models=[opened.model],
        tokens=lambda batch: len(batch) * max(1, lengths[batch[0]]),
        split=halves,
        label=label,
        progress=progress,
    )
    result: dict[int, np.ndarray] = {}
    for batch, features in itertools.chain.from_iterable(done):
        for layer, rows in features.items():
            target = result.setdefault(layer, np.zeros((len(examples), rows.shape[1]), np.float32))
            target[batch] = rows
    return dict(sorted(result.items()))


def _prepare(
    models: Mapping[str, View], examples: Sequence[Inputs], settings: FeatureSettings
) -> tuple[dict[str, HiddenReader], dict[int, dict[str, int]]]:
    if not len(examples):
        raise ValueError("there are no examples to read.")
    sample, _ = collate([examples[0]])
    readers = {name: HiddenReader(model, sample) for name, model in models.items()}
    return readers, _layer_map({name: reader.depth for name, reader in readers.items()}, settings)


def _layer_map(depths: Mapping[str, int], settings: FeatureSettings) -> dict[int, dict[str, int]]:
    first = next(iter(depths.values()))
    if len(set(depths.values())) > 1 and not settings.match_depth:
        raise ValueError(
            f"these models differ in depth (layers: {dict(depths)}), so layers do not correspond; pass match_depth=True to compare "
            "layers at the same relative depth."
        )
    return {
        layer: {name: round(layer * depth / first) for name, depth in depths.items()}
        for layer in chosen_layers(first, settings)
    }


def chosen_layers(depth: int, settings: FeatureSettings) -> list[int]:
    """Layers to read of a model, ascending.

    Raises:
        ValueError: One that it does not have.
    """
    layers = range(1, depth + 1) if settings.layers is None else settings.layers
    unknown = [layer for layer in layers if not 0 <= layer <= depth]
    if unknown:
        raise ValueError(f"there is no layer {unknown[0]}; layers go from 0 (embeddings) to {depth}.")
    return sorted(set(layers))


def _lengths(examples: Sequence[Inputs]) -> list[int]:
    return [len(unpadded(example)[0]) if "input_ids" in example else 0 for example in examples]


def collate(examples: Sequence[Inputs]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    """Inputs of a batch, right-padded, and which tokens are pooled.

    Returns:
        The model's inputs; and bool, shape `(batch, tokens)`, or None where all tokens are pooled (no text).

    Raises:
        ValueError: A text without a token to pool.
    """
    if "input_ids" not in examples[0]:
        names = [name for name in examples[0] if name != "labels"]
        return {name: torch.stack([torch.as_tensor(row[name]) for row in examples]) for name in names}, None
    batch = right_padded(examples)
    # A first token that all others attend to would drown everything else.
    empty = (~batch.is_answer.any(1)).nonzero()
    if len(empty):
        raise ValueError(
            f"an example of {int(batch.attention_mask[empty[0, 0]].sum())} tokens has none to pool (the first token never counts, nor do "
            "tokens without a label)."
        )
    return batch.inputs, batch.is_answer


def _read(
    readers: Mapping[str, HiddenReader],
    layer_map: Mapping[int, Mapping[str, int]],
    examples: Sequence[Inputs],
    settings: FeatureSettings,
    widths: dict[str, dict[int, int]],
) -> dict[int, dict[str, np.ndarray]]:
    """Pooled features of a batch: by layer, by model, shape `(rows, width)`, float64."""
    inputs, pooled = collate(examples)
    features: dict[int, dict[str, np.ndarray]] = {layer: {} for layer in layer_map}
    for name, reader in readers.items():
        states: dict[int, torch.Tensor] = {}

        def keep(layer: int, hidden: torch.Tensor, into: dict[int, torch.Tensor] = states) -> None:
            into[layer] = pool(hidden, pooled, settings.pooling)

        reader.read(inputs, {numbers[name] for numbers in layer_map.values()}, keep)
        for layer, numbers in layer_map.items():
            rows = states[numbers[name]].cpu().double().numpy()
            widths[name][layer] = rows.shape[1]
            rows = project(rows, settings)
            if not np.isfinite(rows).all():
                raise ValueError(f"hidden states of {name!r} at layer {numbers[name]} are not all finite.")
            features[layer][name] = rows
    return features


def pool(hidden: torch.Tensor, pooled: torch.Tensor | None, pooling: str) -> torch.Tensor:
    """From `(batch, tokens, width)` to `(rows, width)`; float32 or wider.

    Args:
        hidden: States; may begin with virtual tokens of a soft prompt, which are never pooled.
        pooled: Which tokens count; None = all.
        pooling: One of `POOLINGS`.
    """
    hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
    if pooled is None:
        pooled = torch.ones(hidden.shape[:2], dtype=torch.bool)
    hidden, pooled = hidden[:, -pooled.shape[1] :], pooled.to(hidden.device)
    if pooling == "all_tokens":
        return hidden[pooled]
    if pooling == "last_token":
        places = torch.arange(pooled.shape[1], device=hidden.device)
        return hidden[torch.arange(len(hidden), device=hidden.device), (places * pooled).argmax(1)]
    weights = pooled.to(hidden.dtype) / pooled.sum(1, keepdim=True)
    with torch.autocast(
        hidden.device.type, enabled=False
    ):  # a tracker reads as its Trainer computes; the mean is ours
        return torch.einsum("btd,bt->bd", hidden, weights)


def project(rows: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """Rows wider than `max_width` projected to it, others as they are."""
    if rows.shape[1] <= settings.max_width:
        return rows
    return rows @ projection(rows.shape[1], settings.max_width, settings.seed)


@lru_cache(maxsize=8)
def projection(width: int, target: int, seed: int) -> np.ndarray:
    """A random map with orthonormal columns, scaled so that lengths are kept on average; shape `(width, target)`."""
    gaussian = np.random.default_rng(seed).normal(size=(width, target))
    orthogonal, triangular = np.linalg.qr(gaussian)
    return orthogonal * np.sign(np.diag(triangular)) * np.sqrt(width / target)


class _MomentStream:
    """Takes features batch by batch; holds at most `FLUSH` rows of them, in buffers made once."""

    def __init__(self) -> None:
        self._totals: dict[int, PairedMoments] = {}
        self._buffers: dict[int, dict[str, np.ndarray]] = {}
        self._filled = 0

    def add(self, features: Mapping[int, Mapping[str, np.ndarray]]) -> None:
        if not self._buffers:
            self._buffers = {
                layer: {name: np.empty((FLUSH, rows.shape[1])) for name, rows in by_model.items()}
                for layer, by_model in features.items()
            }
        count = len(next(iter(next(iter(features.values())).values())))
        start = 0
        while start < count:
            taken = min(FLUSH - self._filled, count - start)
            for layer, by_model in features.items():
                for name, rows in by_model.items():
                    self._buffers[layer][name][self._filled : self._filled + taken] = rows[start : start + taken]
            self._filled += taken
            start += taken
            if self._filled == FLUSH:
                self._flush()

    def finish(self) -> dict[int, PairedMoments]:
        if self._filled:
            self._flush()
        return self._totals

    def _flush(self) -> None:
        for layer, by_model in self._buffers.items():
            rows = {name: buffer[: self._filled] for name, buffer in by_model.items()}
            before = self._totals.get(layer)
            self._totals[layer] = PairedMoments.from_rows(rows) if before is None else before.absorb(rows)
        self._filled = 0
