"""What the models' layers left behind for an audit, before anything is computed from it."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hf_unlearn.functional import clusters_by_content


LayerRows = Mapping[int, np.ndarray]
MIN_EXAMPLES = 5
"""Fewer say nothing about hidden states."""


@dataclass
class FeatureEvidence:
    """What the models' layers left behind.

    Attributes:
        features: Per split, by role, by layer; rows of one split are matched between roles.
        space: Of the comparison.
        shares_basis: Per role, whether it shares its starting weights with the reference.
        patching: By donor role, shape `(examples, layers)`: what the original loses with the donor's layer; the first forget examples.
        lens: By role, shape `(examples, layers)`; the first forget examples.
        prompts: Per split, what each row answers: its prompt, or the text that it is a chunk of; rows with the same are one cluster.
    """

    features: dict[str, dict[str, LayerRows]] = field(default_factory=dict)
    space: str = "feature"
    shares_basis: dict[str, bool] = field(default_factory=dict)
    patching: dict[str, np.ndarray] = field(default_factory=dict)
    lens: dict[str, np.ndarray] = field(default_factory=dict)
    prompts: dict[str, Sequence[Hashable]] = field(default_factory=dict)

    def clusters(self, *splits: str) -> np.ndarray | None:
        """The cluster of each row of the splits, one after the other; None where nothing is known of prompts."""
        if any(split not in self.prompts for split in splits):
            return None
        return clusters_by_content(prompt for split in splits for prompt in self.prompts[split])
