"""FADE, Functional Alignment for Distributional Equivalence (arXiv 2510.12981), from per-completion divergences.

Knows completions as rows of numbers: a divergence in nats, a length, a prompt. Does not know who generated or scored them.
"""

from dataclasses import dataclass

import numpy as np

from hf_unlearn.functional._estimates import Clusters, mean_estimate
from hf_unlearn.functional._uncertainty import Bootstrap, Estimate


ESTIMATORS = ("exact_step", "sampled")
"""`exact_step`: the exact step divergences, summed along the completion; `sampled`: the log-ratio of the completion."""


@dataclass(frozen=True)
class DirectedDivergence:
    """Estimates of KL(p‖q), one per completion sampled from p.

    Attributes:
        values: Nats per completion, shape `(completions,)`. For the `sampled` estimator log p(x) − log q(x), for `exact_step` the
            sum over the completion's steps of KL(p(·|prefix)‖q(·|prefix)).
        prompt_index: The prompt of each completion, shape `(completions,)`.
        num_tokens: Generated tokens of each completion, end token included; shape `(completions,)`.
        truncated: Which completions were cut before their end; shape `(completions,)`.

    Raises:
        ValueError: Unequal lengths, no completions, a completion without tokens, or a non-finite divergence.
    """

    values: np.ndarray
    prompt_index: np.ndarray
    num_tokens: np.ndarray
    truncated: np.ndarray

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("values", "prompt_index", "num_tokens", "truncated")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"every array must have one entry per completion; got lengths {lengths}.")
        if not lengths["values"]:
            raise ValueError("there are no completions: FADE needs at least one prompt and one sample a prompt.")
        if np.min(self.num_tokens) < 1:
            raise ValueError("every completion must have at least one generated token (the end token counts).")
        wrong = np.flatnonzero(~np.isfinite(self.values))
        if len(wrong):
            raise ValueError(
                f"{len(wrong)} of {lengths['values']} divergences are not finite (first: completion {wrong[0]}, prompt "
                f"{self.prompt_index[wrong[0]]}). A model gives NaN, or probability 0 to what the other one produced; check "
                "both models for NaN weights, and score in float32."
            )


@dataclass(frozen=True)
class FadeEstimate:
    """FADE with its two directions and its uncertainty.

    Attributes:
        fade: KL(r‖u) + KL(u‖r), nats per sequence; 0 = equal on the tested prompts, lower is better, no upper bound.
        reference_to_candidate: KL(r‖u), from the reference's samples: what the candidate misses.
        candidate_to_reference: KL(u‖r), from the candidate's samples: what the candidate adds.
        fade_per_token: Nats per token: each direction's total divergence over its total tokens, summed.
        confidence_interval: Of `fade`, studentised bootstrap over prompts (or clusters of them); None below three.
        num_prompts: Distinct prompts.
        num_samples: Completions per prompt and model, on average.
        truncated_fraction: Share of completions that reached `max_new_tokens` before their end.
        per_prompt: FADE of each prompt, ordered by prompt index; shape `(num_prompts,)`.
        estimate: `fade` with the influence of each prompt (or cluster), for comparisons that are paired.
    """

    fade: float
    reference_to_candidate: float
    candidate_to_reference: float
    fade_per_token: float
    confidence_interval: tuple[float, float] | None
    num_prompts: int
    num_samples: float
    truncated_fraction: float
    per_prompt: np.ndarray
    estimate: Estimate

    @property
    def standard_error(self) -> float | None:
        """Of `fade`, over prompts (or clusters of them) as the sampling units; None with a single one."""
        return self.estimate.standard_error if self.estimate.num_clusters > 1 else None


def fade(
    from_reference: DirectedDivergence,
    from_candidate: DirectedDivergence,
    *,
    estimator: str = "exact_step",
    clusters: Clusters = None,
    num_clusters: int | None = None,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> FadeEstimate:
    """FADE from the divergences of the reference's and of the candidate's completions.

    FADE(c) = E_{x~r} [log r(x|c) − log u(x|c)] + E_{x~u} [log u(x|c) − log r(x|c)], a sum without ½ and without absolute values,
    averaged over prompts c; every prompt counts the same, however many samples it has.

    Args:
        from_reference: Estimates of KL(r‖u).
        from_candidate: Estimates of KL(u‖r), on the same prompts.
        estimator: Of `ESTIMATORS`, which gave the divergences: the interval of `exact_step`, which is never negative, is found on the log
            scale; that of `sampled`, which may be, is not.
        clusters: Which prompts belong together (a person), one name for each distinct prompt, by ascending index; default: each by itself.
        num_clusters: As for `mean_estimate`.
        confidence: Of the interval.
        num_resamples: Of the bootstrap over prompts.
        seed: Of the bootstrap.

    Returns:
        The estimate; swapping the arguments swaps the two directions and changes nothing else.

    Raises:
        ValueError: The two sides do not have the same prompts, an unknown estimator, or clusters that do not match the prompts.

    Example:
        One prompt, two samples a side: (1 + 3)/2 + (2 + 2)/2 = 4 nats per sequence; (4/8) + (4/4) = 1.5 nats per token.

        >>> side = lambda values, tokens: DirectedDivergence(
        ...     np.array(values), np.zeros(2, int), np.array(tokens), np.zeros(2, bool))
        >>> result = fade(side([1.0, 3.0], [4, 4]), side([2.0, 2.0], [2, 2]))
        >>> result.fade, result.fade_per_token, result.confidence_interval
        (4.0, 1.5, None)
    """
    prompts, to_candidate = _mean_per_prompt(from_reference)
    other_prompts, to_reference = _mean_per_prompt(from_candidate)
    if not np.array_equal(prompts, other_prompts):
        raise ValueError(
            "both models must have completions for the same prompts; only one has them for prompts "
            f"{np.setxor1d(prompts, other_prompts)[:5].tolist()}."
        )
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}.")
    per_prompt = to_candidate + to_reference
    scale = "log" if estimator == "exact_step" else "plain"
    estimate = mean_estimate(per_prompt, clusters, scale=scale, num_clusters=num_clusters)
    bootstrap = Bootstrap(confidence=confidence, num_resamples=num_resamples, seed=seed)
    sides = (from_reference, from_candidate)
    return FadeEstimate(
        fade=estimate.value,
        reference_to_candidate=float(to_candidate.mean()),
        candidate_to_reference=float(to_reference.mean()),
        fade_per_token=float(sum(side.values.sum(dtype=np.float64) / side.num_tokens.sum() for side in sides)),
        confidence_interval=bootstrap.interval(estimate),
        num_prompts=len(prompts),
        num_samples=float(sum(len(side.values) for side in sides) / (2 * len(prompts))),
        truncated_fraction=float(np.concatenate([side.truncated for side in sides]).mean()),
        per_prompt=per_prompt,
        estimate=estimate,
    )


def _mean_per_prompt(side: DirectedDivergence) -> tuple[np.ndarray, np.ndarray]:
    prompts, inverse, counts = np.unique(side.prompt_index, return_inverse=True, return_counts=True)
    return prompts, np.bincount(inverse, weights=side.values) / counts
