"""A linear probe: can a linear classifier on a layer's features tell forget from holdout examples?

What a probe reads in a candidate and not in a retrained model has leaked. Knows features; no models and no layers.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from hf_unlearn.functional._combining import independent
from hf_unlearn.functional._estimates import auc_estimate, cluster_numbers, jackknife_estimate
from hf_unlearn.functional._uncertainty import Bootstrap, Estimate, Interval, combined


STRENGTH = 0.1
"""Inverse weight of the penalty (scikit-learn's `C`): hidden states are wider than there are examples."""
FITTED_SHARE = 0.5
"""Of the jackknife's variance from fitting. It counts an interaction of k examples in one fit k times, and where there is nothing to read,
all that fitting contributes are interactions; measured, the half of it is enough (`tests/benchmarks/coverage.py`)."""


@dataclass(frozen=True)
class ProbeResult:
    """How well a linear classifier tells two sets apart on examples that it was not fitted on.

    Attributes:
        auc: Area under the ROC curve, in [0, 1]; 0.5 = not at all, 1 = perfectly, below 0.5 = chance.
        confidence_interval: Over the clusters of both sets, the classifiers refitted; None below three of one set.
        estimate: `auc` with the influence of each cluster, refits included; with equal clusters, folds and seed it can be paired with
            another model's (`estimate.minus`): what counts is the excess over the reference's. Its axis is its own.
    """

    auc: float
    confidence_interval: Interval | None
    estimate: Estimate


def linear_probe(
    forget: np.ndarray,
    holdout: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
    confidence: float = 0.95,
    num_resamples: int = 1000,
) -> ProbeResult:
    """Cross-validated logistic regression on standardised features (scikit-learn), and the AUC of its out-of-fold scores.

    Scores are ranked within each fold before they are pooled, so that classifiers of different folds need not share a scale.

    Whether a probe reads something depends on the examples it was fitted on as much as on those it was tried on. So a cluster has two
    influences, which count as independent: on what is tried, from leaving it out there (DeLong's); and on what is fitted, where each
    classifier is what one Newton step makes of it without the cluster (approximate leave-one-out, Rad & Maleki 2020), its scaling of the
    features unchanged. With the classifiers as they are, the excess of one model over another that is no different was called significant
    in 5 to 13 % of cases instead of 2.5 %.

    Args:
        forget: Shape `(examples, width)`.
        holdout: Of the same kind of data, never trained on; shape `(others, width)`.
        clusters: Numbers of the clusters of all rows, forget first (`clusters_by_content`), shape `(examples + others,)`; a cluster is in
            one fold as a whole, and is resampled as a whole. Default: each row is one.
        folds: Of the cross-validation, stratified and shuffled by seed.
        seed: Of folds and bootstrap.
        confidence: Of the interval.
        num_resamples: Of the bootstrap.

    Returns:
        See `ProbeResult`.

    Raises:
        ValueError: A set of fewer clusters than folds, unequal widths, or features that are not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> linear_probe(x[:20] + 9, x[20:], num_resamples=10).auc
        1.0
    """
    # Imported here: scikit-learn takes a second to import, and most users of this package never probe.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.repeat([1, 0], [len(forget), len(holdout)])
    groups = np.arange(len(labels)) if clusters is None else np.asarray(clusters)
    if groups.shape != labels.shape:
        raise ValueError(f"clusters must name one for each of the {len(labels)} rows, got shape {groups.shape}.")
    distinct = [len(np.unique(groups[labels == label])) for label in (1, 0)]
    if min(distinct) < folds:
        raise ValueError(
            f"a probe with {folds} folds needs at least {folds} examples in each set; got {distinct[0]} forget and "
            f"{distinct[1]} holdout examples{'' if clusters is None else ' that differ'}."
        )
    features = np.concatenate([np.asarray(forget, np.float64), np.asarray(holdout, np.float64)])
    if not np.isfinite(features).all():
        raise ValueError("the features are not all finite.")
    scores = np.zeros(len(labels))
    numbers, count = cluster_numbers(groups, len(groups), None)
    refitted = np.zeros((count, len(labels)))
    alone = count == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    for kept, left_out in splitter.split(features, labels, None if alone else groups):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
        classifier.fit(features[kept], labels[kept])
        scores[left_out] = rankdata(classifier.decision_function(features[left_out])) / (len(left_out) + 1)
        rows, others = (classifier[0].transform(features[part]) for part in (kept, left_out))
        moved = _scores_without(
            rows, others, labels[kept], classifier[1].decision_function(rows), numbers[kept], count
        )
        refitted[:, left_out] = rankdata(moved, axis=1) / (len(left_out) + 1)
    tried = auc_estimate(scores[labels == 1], scores[labels == 0], groups)
    auc = tried.value
    fitted = jackknife_estimate(auc, _areas(refitted, labels), (numbers[labels == 1], numbers[labels == 0]))
    estimate = combined(auc, independent(tried, fitted), (1.0, FITTED_SHARE**0.5), "logit")
    bootstrap = Bootstrap(confidence=confidence, num_resamples=num_resamples, seed=seed)
    return ProbeResult(auc, bootstrap.interval(estimate), estimate)


def _scores_without(
    rows: np.ndarray, tried: np.ndarray, labels: np.ndarray, logits: np.ndarray, clusters: np.ndarray, count: int
) -> np.ndarray:
    """Scores of the tried rows if each cluster in turn were missing from the fitted rows, shape `(count, tried rows)`.

    A Newton step solves M x = z for the dual weights x = (α, intercept), with M = [[K + 1/(C w), 1], [1ᵀ, 0]] and w = p(1 − p). Without
    rows g the solution is x − P_g (P_gg)⁻¹ x_g, where P = M⁻¹.
    """
    probability = 1 / (1 + np.exp(-logits))
    weight = np.maximum(probability * (1 - probability), 1e-9)
    size = len(rows)
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = rows @ rows.T
    system[np.arange(size), np.arange(size)] += 1 / (STRENGTH * weight)
    system[:size, size] = system[size, :size] = 1
    inverse = np.linalg.inv(system)
    solution = inverse[:, :size] @ (logits + (labels - probability) / weight)
    solutions = np.tile(solution, (count, 1))
    if len(np.unique(clusters)) == size:
        solutions[clusters] -= (inverse[:, :size] * (solution / np.diag(inverse))[:size]).T
        return solutions[:, :size] @ (rows @ tried.T) + solutions[:, size:]
    for cluster in np.unique(clusters):
        gone = np.flatnonzero(clusters == cluster)
        solutions[cluster] -= inverse[:, gone] @ np.linalg.solve(inverse[np.ix_(gone, gone)], solution[gone])
    return solutions[:, :size] @ (rows @ tried.T) + solutions[:, size:]


def _areas(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each row of scores, from the ranks of its positives; shape `(rows,)`."""
    m, n = (labels == 1).sum(), (labels == 0).sum()
    return (rankdata(scores, axis=1)[:, labels == 1].sum(1) - m * (m + 1) / 2) / (m * n)
