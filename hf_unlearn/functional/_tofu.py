"""The aggregates of TOFU (arXiv 2401.06121): normalised probability, truth ratios over a set, forget quality, model utility.

Knows plain numbers; no metric, no model and no interval. `compatible=True` is what open-unlearning (locuslab/open-unlearning, `src/evals/metrics`)
computes where it departs from the definition; TOFU's own code (locuslab/tofu, `aggregate_eval_stat.py`) agrees with the definition as it is here.

Where published forms differ: the paper prints an arithmetic mean of the wrong answers' probabilities, both codes have the geometric one (exp of the mean
loss), as here. Losses are averaged over all label tokens, the end token included, in both codes and here. TOFU tests 1/R for forget quality, which
changes no rank; one fork of open-unlearning reports the p-value's logarithm (`log10_p_value` here). open-unlearning adds 1e-10 to denominators.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import ks_2samp


AGGREGATIONS = ("mean", "closer_to_1_better", "true_better", "prob_mean")
"""What is averaged over examples of truth ratios R: R; min(R, 1/R); max(0, 1 − R); 1/(1 + R)."""
SLACK = 1e-10
"""What open-unlearning adds to denominators."""


def normalized_probability(
    mean_log_prob: float, wrong_mean_log_probs: Sequence[float] | np.ndarray, *, compatible: bool = False
) -> float:
    """P(true) / (P(true) + Σ P(wrong)) of one question, with P = exp(mean token log-probability) of each answer.

    Args:
        mean_log_prob: Of the true answer, nats per token.
        wrong_mean_log_probs: Of each wrong one.
        compatible: As open-unlearning, which adds 1e-10 to the denominator: a destroyed model, whose answers all have next to no probability,
            then scores 0 instead of what it prefers.

    Returns:
        In [0, 1]; 1/(1 + number of wrong answers) where all are equally likely; NaN where none has any probability.

    Raises:
        ValueError: No wrong answer.

    Example:
        ½ against ¼ and ¼:

        >>> round(normalized_probability(np.log(0.5), np.log([0.25, 0.25])), 12)
        0.5
    """
    wrong = np.asarray(wrong_mean_log_probs, np.float64)
    if not wrong.size:
        raise ValueError("a normalised probability needs at least one wrong answer.")
    if compatible:
        own = np.exp(mean_log_prob)
        return float(own / (own + np.exp(wrong).sum() + SLACK))
    options = np.concatenate([[mean_log_prob], wrong.ravel()])
    if np.isneginf(options).all():
        return float("nan")
    return float(np.exp(mean_log_prob - logsumexp(options)))


def truth_ratio_scores(
    truth_ratios: Sequence[float] | np.ndarray, aggregation: str, *, compatible: bool = False
) -> np.ndarray:
    """What each example contributes to an aggregation of truth ratios R, whose mean over examples is the aggregate.

    Args:
        truth_ratios: Wrong over true (see `truth_ratio`), shape `(examples,)`; infinite where a model denies the true answer without end, NaN
            where there is none.
        aggregation: `closer_to_1_better` (TOFU's of the forget set): min(R, 1/R), 1 = true and wrong answers are equally likely;
            `true_better` (TOFU's of all other sets): max(0, 1 − R), 1 = only the true answer has any probability; `prob_mean`
            (open-unlearning's): 1/(1 + R), the probability of the true answer over both; `mean`: R itself.
        compatible: As open-unlearning, which adds 1e-10 to a denominator (and to that of R, see `truth_ratio`); the difference shows in
            destroyed models only.

    Returns:
        Shape `(examples,)`; in [0, 1] but for `mean`. NaN where R is.

    Raises:
        ValueError: An unknown aggregation, or a negative ratio.

    Example:
        >>> [truth_ratio_scores([0.5, 4.0], name).tolist() for name in ("closer_to_1_better", "true_better", "prob_mean")]
        [[0.5, 0.25], [0.5, 0.0], [0.6666666666666666, 0.2]]
    """
    ratios = np.asarray(truth_ratios, np.float64)
    if (ratios < 0).any():
        raise ValueError(f"truth ratios are at least 0, got {ratios.min()}.")
    if aggregation == "mean":
        return ratios
    if aggregation == "true_better":
        return np.maximum(0.0, 1 - ratios)
    with np.errstate(divide="ignore"):
        if aggregation == "closer_to_1_better":
            return np.minimum(ratios, 1 / (ratios + SLACK if compatible else ratios))
        if aggregation == "prob_mean":
            return 1 / (1 + ratios)
    raise ValueError(f"unknown aggregation {aggregation!r}; choose one of {', '.join(AGGREGATIONS)}.")


@dataclass(frozen=True)
class ForgetQuality:
    """Whether truth ratios tell a model from a retrained one.

    Attributes:
        p_value: Of the two-sample Kolmogorov-Smirnov test, in [0, 1]: small = told apart. Uniform where nothing is to be told.
        statistic: The largest distance between the two cumulative shares, in [0, 1].
        n: Truth ratios of the model.
        n_reference: Of the retrained one.
    """

    p_value: float
    statistic: float
    n: int
    n_reference: int


def forget_quality(
    truth_ratios: Sequence[float] | np.ndarray, reference_truth_ratios: Sequence[float] | np.ndarray
) -> ForgetQuality:
    """TOFU's forget quality: are the truth ratios on the forget set distributed as a retrained model's?

    The test (two-sided; exact up to 10,000 ratios on either side, else asymptotic, as scipy does) looks at ranks alone, so that R and 1/R, of
    which TOFU takes the other one, give the same. It takes ratios as independent draws, which answers to the same questions are not:
    read it as the field's number, not as an error rate.

    Args:
        truth_ratios: Of the model, shape `(examples,)`; infinite ones are the largest, NaN are left out.
        reference_truth_ratios: Of the retrained model, shape `(other examples,)`.

    Raises:
        ValueError: No ratio on one side.

    Example:
        >>> found = forget_quality([1.0, 2.0, 3.0, 4.0], [3.5, 4.5])
        >>> found.statistic, round(found.p_value, 4)
        (0.75, 0.4)
    """
    sides = [np.asarray(side, np.float64).ravel() for side in (truth_ratios, reference_truth_ratios)]
    one, other = (side[~np.isnan(side)] for side in sides)
    if not len(one) or not len(other):
        raise ValueError(f"forget quality needs truth ratios of both models, got {len(one)} and {len(other)}.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        found = ks_2samp(one, other)
    return ForgetQuality(min(1.0, float(found.pvalue)), float(found.statistic), len(one), len(other))


def model_utility(components: Sequence[float] | np.ndarray) -> float:
    """TOFU's model utility: the harmonic mean of probability, ROUGE-L recall and truth ratio on what had to stay (nine numbers there).

    Args:
        components: Each in [0, 1].

    Returns:
        In [0, 1]; 0 where one of them is 0: nothing makes up for it.

    Raises:
        ValueError: None, or one outside of [0, 1] or NaN.

    Example:
        3 / (1/0.5 + 1/0.5 + 1/1) = 0.6

        >>> round(model_utility([0.5, 0.5, 1.0]), 12)
        0.6
    """
    values = np.asarray(components, np.float64).ravel()
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"model utility needs numbers in [0, 1], got {values.tolist()}.")
    with np.errstate(divide="ignore", over="ignore"):
        return float(len(values) / (1 / values).sum())
