"""A linear probe: can a linear classifier on a layer's features tell forget from holdout examples?

What a probe reads in a candidate and not in a retrained model has leaked. Knows features; no models and no layers.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from hf_unlearn.functional._bootstrap import percentile_interval


@dataclass(frozen=True)
class ProbeResult:
    """How well a linear classifier tells two sets apart on examples that it was not fitted on.

    Attributes:
        auc: Area under the ROC curve, in [0, 1]; 0.5 = not at all, 1 = perfectly, below 0.5 = chance.
        confidence_interval: Bootstrap over the examples of both sets, with the fitted classifiers as they are.
        resamples: Of the AUC, shape `(num_resamples,)`; equal seeds and set sizes give resamples that can be paired between models.
    """

    auc: float
    confidence_interval: tuple[float, float]
    resamples: np.ndarray


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
    alone = len(np.unique(groups)) == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    for fitted, left_out in splitter.split(features, labels, None if alone else groups):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        classifier.fit(features[fitted], labels[fitted])
        scores[left_out] = rankdata(classifier.decision_function(features[left_out])) / (len(left_out) + 1)
    wins = (scores[labels == 1][:, None] > scores[labels == 0]) + 0.5 * (
        scores[labels == 1][:, None] == scores[labels == 0]
    )
    generator = np.random.default_rng(seed)
    counts = [_drawn_rows(groups[labels == label], generator, num_resamples) for label in (1, 0)]
    resamples = np.einsum("bi,ij,bj->b", counts[0], wins, counts[1], optimize=True)
    return ProbeResult(float(wins.mean()), percentile_interval(resamples, confidence=confidence), resamples)


def _drawn_rows(groups: np.ndarray, generator: np.random.Generator, num_resamples: int) -> np.ndarray:
    """Weights of the rows, summing to 1, when their clusters are drawn; shape `(num_resamples, rows)`."""
    _, number = np.unique(groups, return_inverse=True)
    size = number.max() + 1
    drawn = generator.multinomial(size, np.full(size, 1 / size), size=num_resamples)[:, number]
    return drawn / drawn.sum(1, keepdims=True)
