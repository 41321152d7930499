"""The area under the ROC curve, with an interval that knows which images belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.typing import Array

#: Percentiles of a 95 % interval.
_ENDS = (2.5, 97.5)


@suggests_keywords
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
    is_adversarial = _check_kinds(is_adversarial)
    ranks = _ranks(scores)
    resampled = [
        _weighted_auc(is_adversarial, ranks, weights) for weights in _draws(sources, num_resamples, seed)
    ]
    low, high = np.nanpercentile(resampled, _ENDS)
    return _weighted_auc(is_adversarial, ranks, np.ones(len(ranks), np.int64)), (float(low), float(high))


@suggests_keywords
def bootstrap_auc_difference(
    is_adversarial: Array,
    scores: Array,
    other_scores: Array,
    sources: Array,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """Returns the AUC of `scores` less that of `other_scores` on the same images, and its 95 % interval.

    Both are resampled together: what makes an image hard for the one makes it hard for the other, and the
    interval of the difference is narrower than those of the two suggest.

    Args:
        is_adversarial: (n,) bool.
        scores: (n,), higher where more adversarial; ties count half.
        other_scores: (n,), of another detector.
        sources: (n,) integers, the same for all versions of one image.
        num_resamples: bootstrap samples. Those that draw images of one kind only are left out.
        seed: of the resampling.

    Raises:
        ValueError: only adversarial images, or none.

    Source: Efron and Tibshirani 1993, percentile interval.

    Example:
        >>> import numpy as np
        >>> from keras_fisher.detectors import bootstrap_auc_difference
        >>> is_adversarial = np.array([False, False, True, True])
        >>> scores, others = np.array([0.1, 0.6, 0.4, 0.8]), np.array([0.1, 0.2, 0.4, 0.8])
        >>> difference, _ = bootstrap_auc_difference(is_adversarial, scores, others, np.array([0, 1, 0, 1]))
        >>> difference
        -0.25
    """
    is_adversarial = _check_kinds(is_adversarial)
    both = _ranks(scores), _ranks(other_scores)

    def difference(weights: Array) -> float:
        first, second = (_weighted_auc(is_adversarial, ranks, weights) for ranks in both)
        return first - second

    resampled = [difference(weights) for weights in _draws(sources, num_resamples, seed)]
    low, high = np.nanpercentile(resampled, _ENDS)
    return difference(np.ones(len(is_adversarial), np.int64)), (float(low), float(high))


def _check_kinds(is_adversarial: Array) -> Array:
    is_adversarial = np.asarray(is_adversarial, bool)
    if is_adversarial.all() or not is_adversarial.any():
        found = f"{is_adversarial.sum()} adversarial of {len(is_adversarial)}"
        raise ValueError(message("is_adversarial", "have images of both kinds", found))
    return is_adversarial


def _ranks(scores: Array) -> Array:
    """Returns (n,) integers, the scores' order; the same where scores are."""
    return np.unique(np.asarray(scores), return_inverse=True)[1]


def _draws(sources: Array, num_resamples: int, seed: int) -> Iterator[Array]:
    """Returns for each resample how often each image counts, (n,)."""
    check_integer("num_resamples", num_resamples, 1)
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    _, members = np.unique(sources, return_inverse=True)
    num_sources = members.max() + 1
    for _ in range(num_resamples):
        drawn = generator.integers(num_sources, size=num_sources)
        yield np.bincount(drawn, minlength=num_sources)[members]


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
