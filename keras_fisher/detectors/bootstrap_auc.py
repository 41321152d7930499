"""The area under the ROC curve, with an interval that knows which images belong together."""

from __future__ import annotations

import numpy as np

from keras_fisher.checks import check_integer, message
from keras_fisher.typing import Array

#: Percentiles of a 95 % interval.
_ENDS = (2.5, 97.5)


def bootstrap_auc(
    is_adversarial: Array, scores: Array, sources: Array, *, num_resamples: int = 1000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Returns the AUC and its 95 % percentile interval, (auc, (low, high)), in [0, 1].

    Sources are resampled, not images: versions of one image are not independent, and an interval that takes
    them so is too narrow.

    Args:
        is_adversarial: (n,) bool.
        scores: (n,), higher where more adversarial; ties count half.
        sources: (n,) integers, the same for all versions of one image.
        num_resamples: bootstrap samples. Those that draw images of one kind only are left out.
        seed: of the resampling.

    Raises:
        ValueError: only adversarial images, or none.

    Source: Efron and Tibshirani 1993, percentile interval; the AUC as the Mann–Whitney statistic.

    Example:
        >>> import numpy as np
        >>> from keras_fisher.detectors import bootstrap_auc
        >>> is_adversarial = np.array([False, False, True, True])
        >>> auc, interval = bootstrap_auc(
        ...     is_adversarial, np.array([0.1, 0.6, 0.4, 0.8]), np.array([0, 1, 0, 1])
        ... )
        >>> auc, interval
        (0.75, (0.75, 1.0))
    """
    check_integer("num_resamples", num_resamples, 1)
    check_integer("seed", seed, 0)
    is_adversarial, scores = np.asarray(is_adversarial, bool), np.asarray(scores)
    if is_adversarial.all() or not is_adversarial.any():
        found = f"{is_adversarial.sum()} adversarial of {len(is_adversarial)}"
        raise ValueError(message("is_adversarial", "have images of both kinds", found))
    _, ranks = np.unique(scores, return_inverse=True)
    _, members = np.unique(sources, return_inverse=True)
    num_sources = members.max() + 1

    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(num_resamples):
        drawn = np.bincount(generator.integers(num_sources, size=num_sources), minlength=num_sources)
        resampled.append(_weighted_auc(is_adversarial, ranks, drawn[members]))
    low, high = np.nanpercentile(resampled, _ENDS)
    return _weighted_auc(is_adversarial, ranks, np.ones(len(ranks), np.int64)), (float(low), float(high))


def _weighted_auc(is_adversarial: Array, ranks: Array, weights: Array) -> float:
    """Returns P(score of a positive > that of a negative) + ½ P(equal), or NaN without one of the two.

    Args:
        is_adversarial: (n,) bool.
        ranks: (n,) integers, the scores' order; the same where scores are.
        weights: (n,) how often each counts.
    """
    positives = np.bincount(ranks, weights * is_adversarial)
    negatives = np.bincount(ranks, weights * ~is_adversarial)
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(negatives) - 0.5 * negatives
    return float(positives @ below / pairs)
