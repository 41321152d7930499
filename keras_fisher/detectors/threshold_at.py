"""From scores of clean images to a threshold."""

from __future__ import annotations

import math

import numpy as np

from keras_fisher.checks import message
from keras_fisher.typing import Array


def threshold_at(negatives: Array, false_positive_rate: float) -> float:
    """Returns the least threshold that flags (score ≥ threshold) at most this share of the negatives.

    Scores that tie are flagged together or not at all.

    Args:
        negatives: (n,) float64 scores of images that are not adversarial.
        false_positive_rate: in (0, 1].

    Raises:
        ValueError: fewer negatives than it takes for one of them to be that share.
    """
    allowed = math.floor(false_positive_rate * len(negatives) + 1e-9)
    if not allowed:
        least = math.ceil(1 / false_positive_rate)
        rule = f"hold at least {least} images, for a rate of {false_positive_rate:g}"
        raise ValueError(message("images", rule, len(negatives)))
    descending = np.sort(negatives)[::-1]
    if allowed >= len(negatives):
        return float(descending[-1])
    # Just above the first that must not be flagged.
    return float(np.nextafter(descending[allowed], np.inf))
