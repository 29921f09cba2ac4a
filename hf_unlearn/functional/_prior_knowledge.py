"""Was there anything to forget? Whether the original knows the forget answers better than something that never saw them.

Where it does not (a wrong chat template, a wrong tokenizer, data that it was never trained on), distances to a retrained model are small
for everybody and say nothing about unlearning. Knows numbers per example; no models and no texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats


CLEAR_ADVANTAGE = 0.05
"""Nats per token below which an advantage is not worth the name, however many examples show it."""

OTHER_FORMAT = 0.2
"""Nats per token by which another way of putting the question must be better to be mentioned."""


@dataclass(frozen=True)
class PriorKnowledge:
    """How much better the original knows the forget answers than what it is compared with.

    Attributes:
        advantage: Difference of mean token log-probabilities, nats per token; above 0 = the original knows more.
        confidence_interval: Of `advantage`, by Student's t (paired) or Welch's (unpaired); None with fewer than 2 clusters on a side.
        n: Clusters of the original's rows.
        confidence: Of the interval.
    """

    advantage: float
    confidence_interval: tuple[float, float] | None
    n: int
    confidence: float = 0.95

    @property
    def clear(self) -> bool | None:
        """Whether there was something to forget: all of the interval above 0 and the advantage at least `CLEAR_ADVANTAGE`.

        None where there are too few rows to tell.
        """
        if self.confidence_interval is None:
            return None
        return self.confidence_interval[0] > 0 and self.advantage >= CLEAR_ADVANTAGE

    @property
    def reverse(self) -> bool:
        """Whether what the original is compared with clearly knows more: all of the interval below 0."""
        return self.confidence_interval is not None and self.confidence_interval[1] < 0

    def describe(self, baseline: str, *, unit: str = "nats per token") -> str:
        """The numbers as a phrase.

        Args:
            baseline: What the original is compared with, for example "the reference gives them".
            unit: Of the difference; a classifier's answer has no tokens.

        Example:
            >>> PriorKnowledge(0.01, (-0.2, 0.22), 18).describe("the reference gives them")
            'the original gives the forget answers 0.01 nats per token more than the reference gives them (95% interval -0.20 to 0.22, n = 18)'
            >>> PriorKnowledge(-2.0, (-2.5, -1.5), 18).describe("guessing gives them", unit="nats")
            'the original gives the forget answers 2.00 nats less than guessing gives them (95% interval 1.50 to 2.50, n = 18)'
        """
        value, bounds, word = self.advantage, self.confidence_interval, "more"
        if self.reverse and bounds is not None:
            value, bounds, word = -value, (-bounds[1], -bounds[0]), "less"
        shown = f"n = {self.n}"
        if bounds is not None:
            shown = f"{self.confidence:.0%} interval {bounds[0]:.2f} to {bounds[1]:.2f}, {shown}"
        return f"the original gives the forget answers {value:.2f} {unit} {word} than {baseline} ({shown})"


def prior_knowledge(
    original: np.ndarray,
    baseline: np.ndarray,
    *,
    paired: bool,
    clusters: np.ndarray | None = None,
    baseline_clusters: np.ndarray | None = None,
    confidence: float = 0.95,
) -> PriorKnowledge:
    """Compare what the original gives the forget answers with what the reference gives them, or with what it gives other answers itself.

    Args:
        original: Mean token log-probability of each forget answer under the original, nats; shape `(examples,)`.
        baseline: Paired: the same answers under the reference, same order. Unpaired: answers that nobody was trained on (holdout) under
            the original, shape `(others,)`.
        paired: Which of the two.
        clusters: Which rows of `original` belong together (equal prompts, one person); default: each by itself.
        baseline_clusters: The same of an unpaired `baseline`.
        confidence: Of the interval.

    Returns:
        See `PriorKnowledge`.

    Raises:
        ValueError: No rows, rows that do not match, or values that are not finite.

    Example:
        Differences 1, 2, 3: mean 2, standard error 1/√3, t(2 degrees, .975) = 4.303, so 2 ± 2.484.

        >>> found = prior_knowledge(np.array([-1.0, -1.0, -1.0]), np.array([-2.0, -3.0, -4.0]), paired=True)
        >>> found.advantage, [round(end, 3) for end in found.confidence_interval], found.clear
        (2.0, [-0.484, 4.484], False)
    """
    first, second = (np.asarray(values, np.float64) for values in (original, baseline))
    if not len(first) or not len(second):
        raise ValueError(f"there is nothing to compare: {len(first)} and {len(second)} rows.")
    if paired and len(first) != len(second):
        raise ValueError(f"paired rows must match: {len(first)} of the original, {len(second)} of the reference.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("the log-probabilities of the answers are not all finite: check the models for NaN weights.")
    if paired:
        sides = [_per_cluster(first - second, clusters)]
    else:
        sides = [_per_cluster(first, clusters), -_per_cluster(second, baseline_clusters)]
    advantage = float(sum(side.mean() for side in sides))
    counts = [len(side) for side in sides]
    if min(counts) < 2:
        return PriorKnowledge(advantage, None, counts[0], confidence)
    shares = np.array([side.var(ddof=1) / len(side) for side in sides])
    total = float(shares.sum())
    # Welch–Satterthwaite; with one side it is n − 1.
    freedom = total**2 / float((shares**2 / (np.array(counts) - 1)).sum()) if total > 0 else float(min(counts) - 1)
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * float(np.sqrt(total))
    return PriorKnowledge(advantage, (advantage - half, advantage + half), counts[0], confidence)


def better_format(used: np.ndarray, others: Mapping[str, np.ndarray]) -> str | None:
    """Which other way of putting the questions makes the answers clearly more likely, as a phrase with the numbers; None if no way does.

    Args:
        used: Mean token log-probability of each answer, put as it is, nats; shape `(examples,)`.
        others: The same of other ways, by name.

    Example:
        >>> better_format(np.array([-2.0, -2.5, -2.0]), {"a": np.array([-0.1, -0.2, -0.1]), "b": np.array([-3.0, -3.0, -3.0])})
        'with a they are 2.03 nats per token more likely (n = 3)'
    """
    found = {name: prior_knowledge(values, used, paired=True) for name, values in others.items()}
    better = {name: gain for name, gain in found.items() if gain.clear and gain.advantage >= OTHER_FORMAT}
    if not better:
        return None
    name = max(better, key=lambda each: better[each].advantage)
    return f"with {name} they are {better[name].advantage:.2f} nats per token more likely (n = {better[name].n})"


def _per_cluster(values: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Mean of each cluster, shape `(clusters,)`."""
    if clusters is None:
        return values
    if len(clusters) != len(values):
        raise ValueError(f"clusters must name one for each of the {len(values)} rows, got {len(clusters)}.")
    _, inverse, counts = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    return np.bincount(inverse, weights=values) / counts
