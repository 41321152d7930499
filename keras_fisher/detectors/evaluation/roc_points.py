"""The ROC curve in few points."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_curve

from keras_fisher.typing import Array

#: A curve of no more corners is kept whole.
_MAX_WHOLE = 120
#: Of a longer one, false positive rates at which a point is kept: evenly in the logarithm, and evenly.
_NUM_LOGARITHMIC, _NUM_LINEAR = 60, 30
#: More than a figure shows, and less than half the bytes of a float64.
_DECIMALS = 6


def roc_points(is_adversarial: Array, scores: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns (false positive rates, true positive rates), ascending from (0, 0) to (1, 1), at most 120.

    Each is a point of the full curve, to six decimals.

    Args:
        is_adversarial: (n,) bool, of both kinds.
        scores: (n,), higher where more adversarial.
    """
    false_positives, true_positives, _ = roc_curve(is_adversarial, scores)
    if len(false_positives) <= _MAX_WHOLE:
        return _rounded(false_positives), _rounded(true_positives)
    num_negatives = int((~np.asarray(is_adversarial, bool)).sum())
    wanted = np.concatenate(
        [np.geomspace(1 / num_negatives, 1.0, _NUM_LOGARITHMIC), np.linspace(0.0, 1.0, _NUM_LINEAR)]
    )
    # The last point at a rate: the top of a vertical rise. 1e-12: 1/n by two routes may differ in rounding.
    kept = np.searchsorted(false_positives, wanted + 1e-12, side="right") - 1
    kept = np.unique(np.concatenate([[0], kept, [len(false_positives) - 1]]))
    return _rounded(false_positives[kept]), _rounded(true_positives[kept])


def _rounded(rates: Array) -> tuple[float, ...]:
    return tuple(np.round(rates, _DECIMALS).tolist())
