"""What is true of several models' layers together: whether they can be compared, in which space, and whether one can be patched into another."""

import logging
from collections.abc import Mapping

from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.inference import FeatureSettings, LoadedModel, ModelLike, model_depth, share_starting_weights


logger = logging.getLogger(__name__)
PATCHED = 64
"""Forget examples for patching and lens, which cost a forward pass, or vocabulary work, per layer."""


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


class LayerFacts:
    """Learnt as models are read: the reference first, where there is one, then the original. The first is what the others are compared with.

    Args:
        space: "auto", "feature" or "gram".
        skipped: Why no hidden states are to be read, or None.

    Attributes:
        shares_basis: Per role, whether it shares its starting weights with the reference; where there is none, with the original.
        shares_original: Per role, whether it shares them with the original.
    """

    def __init__(self, space: str, skipped: str | None):
        self._wanted, self.skipped = space, skipped
        self.shares_basis: dict[str, bool] = {}
        self.shares_original: dict[str, bool] = {}
        self._first: LoadedSubject | None = None
        self._original: LoadedModel | None = None
        self._widest = 0

    def follow(self, subject: LoadedSubject) -> bool:
        """Take note of a model; whether its hidden states are to be read."""
        if self.skipped is not None:
            return False
        role = subject.key.role
        if self._first is None:
            self._first = subject
        self._widest = max(self._widest, _width(subject.model) or 0)
        if role not in self.shares_basis:
            first = self._first.model
            self.shares_basis[role] = subject.model is first or share_starting_weights(first, subject.model)
            self._follow_from_original(subject, first)
        return True

    def _follow_from_original(self, subject: LoadedSubject, first: LoadedModel) -> None:
        role = subject.key.role
        if role == "original":
            self._original = subject.model
            # Whoever came before it, the reference, shares with it what it shares with that one.
            self.shares_original |= dict.fromkeys([*self.shares_original, role], self.shares_basis[role]) | {
                role: True
            }
        elif self._original is None or self._original is first:
            self.shares_original[role] = self.shares_basis[role]
        else:
            self.shares_original[role] = share_starting_weights(self._original, subject.model)

    def skip(self, reason: str) -> None:
        """From now on no hidden states are read."""
        self.skipped = self.skipped or reason

    @property
    def space(self) -> str:
        """Of the comparison: what was asked for, or what all models allow."""
        if self._wanted != "auto":
            return self._wanted
        return "feature" if all(self.shares_basis.values()) else "gram"

    def can_patch(self, original: LoadedSubject, donor: LoadedSubject) -> bool:
        """Whether the donor's states fit into the original."""
        if self.skipped is not None:
            return False
        if _width(original.model) != _width(donor.model):
            logger.info("patching needs equal widths; %s is left out.", donor.key)
            return False
        return True

    def notes(self, settings: FeatureSettings) -> list[str]:
        """What a reader of the report must know."""
        if self.skipped is not None:
            return [f"Hidden states were not compared: {self.skipped}."]
        notes = []
        if self._wanted == "auto" and self.space == "gram":
            assert self._first is not None
            strangers = [role for role, related in self.shares_basis.items() if not related]
            notes.append(
                f"Hidden states were compared in Gram space, because {' and '.join(strangers)} did not start from the "
                f"{self._first.key.role}'s weights."
            )
        if self._widest > settings.max_width:
            notes.append(f"Layers wider than {settings.max_width} were projected to it (seed {settings.seed}).")
        return notes


def _width(model: LoadedModel) -> int | None:
    return getattr(model.config.get_text_config(), "hidden_size", None)
