"""FADE, Functional Alignment for Distributional Equivalence (arXiv 2510.12981), from per-completion divergences.

Knows completions as rows of numbers: a divergence in nats, a length, a prompt. Does not know who generated or scored them.
"""

from dataclasses import dataclass

import numpy as np

from hf_unlearn.functional._bootstrap import bootstrap_means, percentile_interval


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
        confidence_interval: Of `fade`, bootstrap over prompts; None with a single prompt.
        num_prompts: Distinct prompts.
        num_samples: Completions per prompt and model, on average.
        truncated_fraction: Share of completions that reached `max_new_tokens` before their end.
        per_prompt: FADE of each prompt, ordered by prompt index; shape `(num_prompts,)`.
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

    @property
    def standard_error(self) -> float | None:
        """Of `fade`, over prompts as the sampling units; None with a single prompt."""
        if self.num_prompts < 2:
            return None
        return float(np.std(self.per_prompt, ddof=1) / np.sqrt(self.num_prompts))


def fade(
    from_reference: DirectedDivergence,
    from_candidate: DirectedDivergence,
    *,
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
        confidence: Of the interval.
        num_resamples: Of the bootstrap over prompts.
        seed: Of the bootstrap.

    Returns:
        The estimate; swapping the arguments swaps the two directions and changes nothing else.

    Raises:
        ValueError: The two sides do not have the same prompts.

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
    per_prompt = to_candidate + to_reference
    interval = None
    if len(prompts) > 1:
        resamples = bootstrap_means(per_prompt, num_resamples=num_resamples, seed=seed)
        interval = percentile_interval(resamples, confidence=confidence)
    sides = (from_reference, from_candidate)
    return FadeEstimate(
        fade=float(per_prompt.mean()),
        reference_to_candidate=float(to_candidate.mean()),
        candidate_to_reference=float(to_reference.mean()),
        fade_per_token=float(sum(side.values.sum(dtype=np.float64) / side.num_tokens.sum() for side in sides)),
        confidence_interval=interval,
        num_prompts=len(prompts),
        num_samples=float(sum(len(side.values) for side in sides) / (2 * len(prompts))),
        truncated_fraction=float(np.concatenate([side.truncated for side in sides]).mean()),
        per_prompt=per_prompt,
    )


def _mean_per_prompt(side: DirectedDivergence) -> tuple[np.ndarray, np.ndarray]:
    prompts, inverse, counts = np.unique(side.prompt_index, return_inverse=True, return_counts=True)
    return prompts, np.bincount(inverse, weights=side.values) / counts
