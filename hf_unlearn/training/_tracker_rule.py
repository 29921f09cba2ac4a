"""Which checkpoint is best, in one sentence: keep what must stay, then come nearest to retraining."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


WORST = 1e6
"""Where the scores of checkpoints begin that kept too little."""


@dataclass(frozen=True)
class KeepThenForget:
    """ "Retain probability at least 95 % of the start, then lowest FADE relative (or, where there is none, forget probability)."

    Attributes:
        keep: Share of the retain probability at the start that must be kept.
        metrics: What is lowest then: the first of these that was tracked.
    """

    keep: float = 0.95
    metrics: tuple[str, ...] = ("fade_relative", "fade", "forget_probability")

    def score(self, values: Mapping[str, float], start: Mapping[str, float]) -> float:
        """Lower is better; a checkpoint that kept too little is worse than any that did not, by how much it lacks.

        Args:
            values: Tracked now, names without `eval_`.
            start: Tracked before the first step.

        Raises:
            KeyError: None of the metrics is tracked.
        """
        name = next((metric for metric in self.metrics if metric in values), None)
        if name is None:
            raise KeyError(f"none of {self.metrics} is tracked; there are {sorted(values)}.")
        kept, needed = values.get("retain_probability", 1.0), self.keep * start.get("retain_probability", 0.0)
        if not math.isfinite(values[name]) or not math.isfinite(kept):
            return 10 * WORST  # a broken model; not NaN, which no later checkpoint would be better than
        return min(values[name], WORST) if kept >= needed else WORST * (1 + needed - kept)
