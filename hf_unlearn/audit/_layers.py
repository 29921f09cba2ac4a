"""What an audit takes from the models' layers: features of every set, and, on the forget set, patching effects and the logit lens.

Knows models in their roles and the evidence store; computes no metric.
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._feature_evidence import FeatureEvidence
from hf_unlearn.audit._splits import Split
from hf_unlearn.audit._subjects import Subject
from hf_unlearn.inference import (
    FeatureSettings,
    LoadedModel,
    ModelLike,
    NoHiddenStatesError,
    feature_rows,
    lens_log_probs,
    model_depth,
    patching_effects,
    share_starting_weights,
)


logger = logging.getLogger(__name__)
PATCHED = 64
"""Forget examples for patching and lens, which cost a forward pass per layer."""


def check_layers(models: Mapping[str, ModelLike], layers: tuple[int, ...] | None) -> str | None:
    """Why the layers of these models cannot be compared, or None; opens no weights.

    Raises:
        ValueError: A layer that the models do not have.
    """
    depths = {role: model_depth(model) for role, model in models.items()}
    known = {depth for depth in depths.values() if depth is not None}
    if layers is not None and known:
        unknown = [layer for layer in layers if not 0 <= layer <= min(known)]
        if unknown:
            raise ValueError(f"there is no layer {unknown[0]}; layers go from 0 (embeddings) to {min(known)}.")
    if len(known) > 1:
        return f"the models differ in depth ({', '.join(f'{role}: {depth}' for role, depth in depths.items())})"
    return None


def feature_settings(
    layers: Sequence[int] | None, pooling: str, space: str, seed: int, batch_size: int
) -> FeatureSettings:
    """Settings of an audit.

    Raises:
        ValueError: An unknown pooling, or one that has no rows per example.
    """
    if pooling == "all_tokens":
        raise ValueError(
            "an audit compares examples: pooling must be 'answer_mean' or 'last_token', not 'all_tokens'."
        )
    chosen = None if layers is None else tuple(layers)
    return FeatureSettings(pooling=pooling, layers=chosen, seed=seed, batch_size=batch_size)


class LayerReader:
    """Takes what is needed of one subject after the other; the reference first, then the original.

    Args:
        splits: The sets.
        settings: How hidden states become features.
        space: "auto", "feature" or "gram".
        store: Where to keep what was read.
        progress: Whether to show progress bars.
        skipped: Why nothing is to be read, or None.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        settings: FeatureSettings,
        space: str,
        store: EvidenceStore,
        progress: bool,
        *,
        skipped: str | None = None,
    ):
        self.splits, self.settings, self.space = splits, settings, space
        self.store, self.progress = store, progress
        self.evidence = FeatureEvidence(prompts={name: split.groups for name, split in splits.items()})
        self.skipped = skipped
        self._opened: dict[str, Subject] = {}

    def take(self, subject: Subject) -> None:
        """Features, lens and patching effects of one subject; a model without hidden states ends the reading."""
        if self.skipped is not None:
            return
        try:
            for name, split in self.splits.items():
                self.evidence.features.setdefault(name, {})[subject.role] = self._features(subject, split)
            self._depth(subject)
        except NoHiddenStatesError as error:
            self.skipped = str(error).removesuffix(".")
            return
        if subject.role in ("reference", "original"):
            self._opened[subject.role] = subject
        reference = self._opened["reference"].model
        self.evidence.shares_basis[subject.role] = subject.model is reference or share_starting_weights(
            reference, subject.model
        )

    def finish(self) -> FeatureEvidence:
        """The evidence, with the space that all models allow."""
        related = all(self.evidence.shares_basis.values())
        self.evidence.space = ("feature" if related else "gram") if self.space == "auto" else self.space
        if not self.evidence.shares_basis.get("twin", True):
            self.evidence.patching.pop("twin", None)  # states of another basis patched in say nothing
        return self.evidence

    def notes(self) -> list[str]:
        """What a reader of the report must know."""
        if self.skipped is not None:
            return [f"Hidden states were not compared: {self.skipped}."]
        notes = []
        if self.space == "auto" and self.evidence.space == "gram":
            strangers = [role for role, related in self.evidence.shares_basis.items() if not related]
            notes.append(
                f"Hidden states were compared in Gram space, because {' and '.join(strangers)} did not start from the reference's "
                "weights."
            )
        first = next(iter(self.evidence.features["forget"].values()), {})
        if any(rows.shape[1] == self.settings.max_width for rows in first.values()):
            notes.append(
                f"Layers wider than {self.settings.max_width} were projected to it (seed {self.settings.seed})."
            )
        return notes

    def _features(self, subject: Subject, split: Split) -> dict[int, np.ndarray]:
        key = content_key(subject.fingerprint, split.examples, self.settings)
        arrays = self.store.arrays(
            f"features-{split.name}-{subject.role}",
            key,
            lambda: {
                str(layer): rows
                for layer, rows in feature_rows(
                    subject.view,
                    split.examples,
                    self.settings,
                    progress=self.progress,
                    label=f"hidden states {subject.role} {split.name}",
                ).items()
            },
        )
        return {int(layer): rows for layer, rows in sorted(arrays.items(), key=lambda item: int(item[0]))}

    def _depth(self, subject: Subject) -> None:
        examples = self.splits["forget"].examples[:PATCHED]
        batch_size = self.settings.batch_size

        def lens() -> dict[str, np.ndarray]:
            label = f"logit lens {subject.role}"
            read = lens_log_probs(subject.view, examples, batch_size=batch_size, progress=self.progress, label=label)
            return {} if read is None else {"log_probs": read.numpy()}

        found = self.store.arrays(f"lens-{subject.role}", content_key(subject.fingerprint, examples), lens)
        if found:
            self.evidence.lens[subject.role] = found["log_probs"]
        if subject.role == "original":
            self._patch(subject, self._opened["reference"])
        elif "original" in self._opened:
            self._patch(self._opened["original"], subject)

    def _patch(self, original: Subject, donor: Subject) -> None:
        examples = self.splits["forget"].examples[:PATCHED]

        def effects() -> dict[str, np.ndarray]:
            drops: torch.Tensor = patching_effects(
                original.view,
                donor.view,
                examples,
                batch_size=self.settings.batch_size,
                progress=self.progress,
                label=f"patching {donor.role}",
            )
            return {"effects": drops.numpy()}

        if _width(original.model) != _width(donor.model):
            logger.info("patching needs equal widths; %s is left out.", donor.role)
            return
        key = content_key(original.fingerprint, donor.fingerprint, examples)
        self.evidence.patching[donor.role] = self.store.arrays(f"patching-{donor.role}", key, effects)["effects"]


def _width(model: LoadedModel) -> int | None:
    return getattr(model.config.get_text_config(), "hidden_size", None)
