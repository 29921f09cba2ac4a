"""How well scores tell members from non-members: areas under the curve, hits at few false alarms, MUSE's PrivLeak. Knows scores alone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import beta, binom

from hf_unlearn.functional._estimates import Clusters, auc_estimate
from hf_unlearn.functional._uncertainty import Bootstrap, Estimate, Interval, combined


Scores = Sequence[float] | np.ndarray
FEW_ALARMS = 0.01
"""False alarms at which hits are counted."""


def membership_auc(
    members: Scores, non_members: Scores, *, clusters: Clusters = None, bootstrap: Bootstrap | None = None
) -> dict[str, Any]:
    """How well a membership attack tells members from non-members by its scores.

    Args:
        members: Scores of texts in question (the forget set), higher = more likely a member; shape `(rows,)`.
        non_members: Scores of texts that were never trained on, shape `(others,)`.
        clusters: Of all rows, members first, shape `(rows + others,)`; rows about one person count as one. Default: each by itself.
        bootstrap: How uncertainty is found.

    Returns:
        * `auc`: probability that a member scores above a non-member, ties counting half; in [0, 1]. 0.5 = not told apart, 1 = always,
          below 0.5 = members look *less* like training data than texts never seen.
        * `confidence_interval`: studentised, with DeLong's standard error over clusters; None below three clusters on a side.
        * `tpr_at_1_percent_fpr`, `tpr_at_1_percent_fpr_interval`: see `tpr_at_fpr` and `tpr_interval`; None where they do not exist.
        * `num_members`, `num_non_members`.

    Raises:
        ValueError: A side is empty, a score is NaN, or clusters do not match the rows.

    Example:
        Of six pairs four are won and one is tied.

        >>> found = membership_auc([3.0, 2.0], [1.0, 2.0, 2.5])
        >>> found["auc"], found["confidence_interval"], found["tpr_at_1_percent_fpr"]
        (0.75, None, None)
    """
    bootstrap = bootstrap or Bootstrap()
    area = _area(members, non_members, clusters)
    apart = clusters is None or len(set(clusters)) == len(clusters)
    return {
        "auc": area.value,
        "confidence_interval": bootstrap.interval(area),
        "tpr_at_1_percent_fpr": tpr_at_fpr(members, non_members),
        "tpr_at_1_percent_fpr_interval": tpr_interval(members, non_members, confidence=bootstrap.confidence)
        if apart
        else None,
        "num_members": len(members),
        "num_non_members": len(non_members),
    }


def tpr_at_fpr(members: Scores, non_members: Scores, fpr: float = FEW_ALARMS) -> float | None:
    """Share of members found with at most this share of false alarms (Carlini et al. 2022, arXiv 2112.03570).

    Found is who scores above the threshold; as the threshold serves the lowest that the ⌊fpr · others⌋ highest non-members alone pass.

    Returns:
        In [0, 1]; `fpr` itself = guessing. None with fewer than 1/fpr non-members, which know nothing of so few false alarms.

    Raises:
        ValueError: A side is empty, a score is NaN, or a share that is none.

    Example:
        One of 100 non-members may pass, so the threshold is the second highest: 98.

        >>> tpr_at_fpr([98.0, 98.5, 200.0, 3.0], np.arange(100.0))
        0.5
    """
    found, others = _scores(members, "members"), _scores(non_members, "non-members")
    if not 0 < fpr < 1:
        raise ValueError(f"a share of false alarms lies between 0 and 1, got {fpr}.")
    allowed = int(fpr * len(others) + 1e-9)
    return float((found > np.sort(others)[-allowed - 1]).mean()) if allowed else None


def tpr_interval(
    members: Scores, non_members: Scores, fpr: float = FEW_ALARMS, *, confidence: float = 0.95
) -> Interval | None:
    """Where the share of members beyond the non-members' upper quantile may lie, whatever the scores' distributions are.

    The quantile lies between two of the non-members' scores, by the binomial distribution; beyond each of these the members' share has
    Clopper and Pearson's bounds. Half of the error is left to each, so that it holds more than it says. Rows must be independent.
    Below about 4.4/fpr non-members none of them need lie beyond the quantile, and the lower bound is 0.

    Args:
        members: As for `tpr_at_fpr`.
        non_members: As for `tpr_at_fpr`.
        fpr: Share of false alarms, in the population.
        confidence: Of the interval.

    Returns:
        Inside [0, 1]; None where there is no value (`tpr_at_fpr`).

    Raises:
        ValueError: As `tpr_at_fpr`.

    Example:
        >>> low, high = tpr_interval(np.full(50, 1000.0), np.arange(1000.0))
        >>> round(low, 3), high
        (0.916, 1.0)
    """
    if tpr_at_fpr(members, non_members, fpr) is None:
        return None
    found, others = _scores(members, "members"), np.sort(_scores(non_members, "non-members"))
    tail = (1 - confidence) / 4
    # So many non-members lie beyond the quantile at least and at most.
    fewest, most = binom.ppf([tail, 1 - tail], len(others), fpr).astype(int)
    low = int((found > others[-fewest]).sum()) if fewest else 0
    high = int((found > others[-most - 1]).sum()) if most < len(others) else len(found)
    return (
        float(beta.ppf(tail, low, len(found) - low + 1)) if low else 0.0,
        float(beta.ppf(1 - tail, high + 1, len(found) - high)) if high < len(found) else 1.0,
    )


def privleak(
    members: Scores,
    non_members: Scores,
    *,
    reference_members: Scores | None = None,
    reference_non_members: Scores | None = None,
    reference_auc: float | None = None,
    clusters: Clusters = None,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """MUSE's PrivLeak: by how many per cent a membership attack's failure rate differs from that against the retrained model.

    Args:
        members: Scores of the forget texts under the candidate, higher = more likely a member (MUSE: `min_k_score` with k = 0.4).
        non_members: The same of the holdout texts.
        reference_members: Of the same forget texts, in the same order, under the retrained model.
        reference_non_members: The same of the holdout texts.
        reference_auc: Instead of both: the retrained model's AUC as published, with the forget texts as members; taken as exact. MUSE's own
            constants are 1 − it.
        clusters: As for `membership_auc`.
        bootstrap: How uncertainty is found.

    Returns:
        `privleak` (see `privleak_estimate`), its `confidence_interval`, `auc` and `reference_auc`, the forget texts being the members.

    Raises:
        ValueError: No reference, two, or one of other texts; as `membership_auc`; or the retrained model's AUC is 1.

    Example:
        AUC 1 where retraining has 0.5: the attack fails in 0 % of the pairs instead of 50 %.

        >>> privleak([3.0, 4.0], [1.0, 2.0], reference_auc=0.5)["privleak"]
        -100.0
    """
    bootstrap = bootstrap or Bootstrap()
    area = _area(members, non_members, clusters)
    given = (reference_members is not None, reference_non_members is not None)
    if any(given) is (reference_auc is not None) or (not all(given) and any(given)):
        raise ValueError(
            "PrivLeak needs either reference_members and reference_non_members or reference_auc: the same texts under the retrained model."
        )
    if reference_members is None or reference_non_members is None:
        assert reference_auc is not None
        if not 0 <= reference_auc <= 1:
            raise ValueError(f"an AUC lies in [0, 1], got {reference_auc}.")
        silent = None if area.influence is None else np.zeros_like(area.influence)
        reference = Estimate(float(reference_auc), silent, "clipped", area.num_clusters)
    else:
        sizes = [len(members), len(non_members), len(reference_members), len(reference_non_members)]
        if sizes[:2] != sizes[2:]:
            raise ValueError(
                "both models must have read the same texts, got {} and {} scores of the candidate, {} and {} of the reference.".format(
                    *sizes
                )
            )
        reference = _area(reference_members, reference_non_members, clusters)
    found = privleak_estimate(area, reference, bootstrap)
    return {
        "privleak": found.value,
        "confidence_interval": bootstrap.interval(found),
        "auc": area.value,
        "reference_auc": reference.value,
    }


def privleak_estimate(area: Estimate, reference: Estimate, bootstrap: Bootstrap | None = None) -> Estimate:
    """100 · ((1 − AUC) − (1 − AUC_retrain)) / (1 − AUC_retrain), per cent (MUSE, arXiv 2407.06460), with the forget texts as members.

    The paper prints (AUC − AUC_retrain) / AUC_retrain; its code calls the *holdout* texts the members, whence 1 − AUC here. So the sign is
    that of the published numbers.

    Args:
        area: AUC of an attack on the candidate, forget texts as members.
        reference: The same on the retrained model, over the same clusters.
        bootstrap: Gives the confidence of what areas of exactly 0 or 1 may have missed.

    Returns:
        At least −100. 0 = as after retraining; below 0 = forget texts are still told from unseen ones (−100: always); above 0 = they look
        less like training data than after retraining, which gives them away as well.

    Raises:
        ValueError: The retrained model's AUC is 1, so that no rate of failures can be compared with its.

    Example:
        (0.25 − 0.5) / 0.5.

        >>> privleak_estimate(Estimate(0.75, None), Estimate(0.5, None)).value
        -50.0
    """
    if not reference.value < 1:
        raise ValueError(
            "PrivLeak divides by 1 − AUC of the retrained model, which is 0: its own scores tell all forget from all holdout texts, so that "
            "these sets differ in more than membership."
        )
    bootstrap = bootstrap or Bootstrap()
    value, room = _change(area.value, reference.value), 1 - reference.value
    slopes = (-100 / room, 100 * (1 - area.value) / room**2)
    found = combined(value, [area, reference], slopes, "change")
    missed, of_reference = bootstrap.unseen(area), bootstrap.unseen(reference)
    corners = [
        _change(area.value + by, reference.value + other)
        for by, other in product(missed, of_reference)
        if reference.value + other < 1
    ]
    return replace(found, unseen=(min(corners) - value, max(corners) - value))


def _change(area: float, reference: float) -> float:
    return 100 * (reference - area) / (1 - reference)


def _area(members: Scores, non_members: Scores, clusters: Clusters) -> Estimate:
    return auc_estimate(_scores(members, "members"), _scores(non_members, "non-members"), clusters)


def _scores(scores: Scores, whose: str) -> np.ndarray:
    """As numbers.

    Raises:
        ValueError: There are none, or one is NaN, which has no place among them.
    """
    found = np.asarray(scores, np.float64)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"there must be scores of {whose}, in one dimension, got an array of shape {found.shape}.")
    if np.isnan(found).any():
        raise ValueError(
            f"{np.isnan(found).sum()} of {len(found)} scores of {whose} are NaN, which can be neither above nor below others."
        )
    return found
