"""Which checkpoint is best, in one sentence: keep what must stay, then come nearest to retraining."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hf_unlearn.training._tracked_names import known_better_name


WORST = 1000.0
"""Where the scores of checkpoints begin that kept too little. FADE, in nats, is far below; and four digits can be read."""


@dataclass(frozen=True)
class KeepThenForget:
    """ "Retain probability at least 95 % of the start, then lowest FADE relative (or, where there is no reference, counterfactual FADE where it is
    tracked, else forget probability)."

    Attributes:
        keep: Share of the retain probability at the start that must be kept.
        metrics: What is lowest then: the first of these that was tracked.
    """

    keep: float = 0.95
    metrics: tuple[str, ...] = (
        *("fade_relative", "fade", "counterfactual_fade_relative", "counterfactual_fade"),
        "forget_probability",
    )

    def score(self, values: Mapping[str, float], start: Mapping[str, float]) -> float:
        """Lower is better; a checkpoint that kept too little is worse than any that did not, by how much it lacks.

        Args:
            values: Tracked now, names without `eval_`.
            start: Tracked before the first step.

        Returns:
            The metric's value, below 1000. From 1000 to 2000 where too little was kept: 1000 × (1 + what is missing of the retain
            probability); 2000 where a value is not finite.

        Raises:
            KeyError: None of the metrics is tracked.
        """
        name = next((metric for metric in self.metrics if metric in values), None)
        if name is None:
            raise KeyError(f"none of {self.metrics} is tracked; there are {sorted(values)}.")
        kept, needed = values.get("retain_probability", 1.0), self.keep * start.get("retain_probability", 0.0)
        if not math.isfinite(values[name]) or not math.isfinite(kept):
            return 2 * WORST  # a broken model; not NaN, which no later checkpoint would be better than
        return min(values[name], math.nextafter(WORST, 0)) if kept >= needed else WORST * (1 + needed - kept)

    def unsatisfied(self, tracked: Mapping[int, Mapping[str, float]], start: Mapping[str, float]) -> str | None:
        """What to say when no checkpoint has kept enough; None where one has.

        Args:
            tracked: Values with their `forgetting_score`, by step.
            start: Tracked before the first step.
        """
        if not tracked or min(values["forgetting_score"] for values in tracked.values()) < WORST:
            return None
        step, values = min(tracked.items(), key=lambda item: item[1]["forgetting_score"])
        return (
            f"no checkpoint kept {self.keep:.0%} of the retain probability at the start ({start.get('retain_probability', 0.0):.3g}): the "
            f"most that any kept is {values.get('retain_probability', float('nan')):.3g}, at step {step}. The best by forgetting_score "
            "is then the one that lost least, not one that forgot. Train with a lower learning rate or a larger retain_weight."
        )


@dataclass(frozen=True)
class AtFloor:
    """Whether a tracked metric has come down to its floor; for `stop_when`, see `at_floor`.

    Attributes:
        metric: Name of its value in the log: `counterfactual_fade`, `fade`, `retain_fade`.
        relative: Where to stop between floor (0) and start (1).
    """

    metric: str
    relative: float = 0.0

    @property
    def name(self) -> str:
        """Of the value that decides."""
        return f"{self.metric}_relative"

    def __call__(self, values: Mapping[str, float]) -> bool:
        """False where it has no place between floor and start, or forget answers are still known better than what stands in knows them."""
        return (
            values.get(self.name, math.inf) <= self.relative and values.get(known_better_name(self.metric), 0.0) <= 0
        )

    def check(self, tracked: Collection[str]) -> None:
        """Refuse what would never stop.

        Args:
            tracked: Names of all places between floor and start that are tracked.

        Raises:
            ValueError: It is not among them.
        """
        if self.name not in tracked:
            listed = ", ".join(name.removesuffix("_relative") for name in tracked) or "none"
            raise ValueError(
                f"at_floor({self.metric!r}) needs that metric to be tracked, with floor and start; of those with a place between these there "
                f"are: {listed}. Name it in metrics=[...], and give the models that it needs: original=, and for fade also reference= and twin=."
            )


def at_floor(metric: str = "counterfactual_fade", *, relative: float = 0.0) -> AtFloor:
    """Ends the training where a metric reaches its floor: `ForgettingTracker(stop_when=at_floor("counterfactual_fade"), original=...)`.

    Of `counterfactual_fade` that is where the model says of the forget subjects what the original says of unseen ones: where a retrained model would
    be if subjects are exchangeable and retraining had no noise of its own. The retrained model itself may be further away, so a training that is
    ended there has done enough rather than too little. It goes on while the forget answers are more probable than the stand-in has them (the
    lower bound of the difference is above 0), as an audit's verdict has it. A model that leaks what the stand-in leaks is there, too, so look
    at `forget_probability` beside it.

    Args:
        metric: Whose value, by its name in the log.
        relative: Where between floor (0) and start (1); 0.1 ends a little before.

    Raises:
        ValueError: `relative` is not below 1.

    Example:
        >>> stop = at_floor("counterfactual_fade")
        >>> stop({"counterfactual_fade_relative": 0.2}), stop({"counterfactual_fade_relative": -0.01}), stop({})
        (False, True, False)
        >>> stop({"counterfactual_fade_relative": -0.01, "counterfactual_fade_forget_probability_over_stand_in_low": 0.3})
        False
    """
    if not relative < 1:
        raise ValueError(f"relative must be below 1, where the training starts; got {relative}.")
    return AtFloor(metric, relative)
