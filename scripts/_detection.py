"""A detector fitted to half of the source images, and its scores of the others: for many heads and sets."""

from __future__ import annotations

import dataclasses
from typing import Any

import _estimates as estimates
import numpy as np

import keras_fisher as kf


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a fitted detector says of the second half of the sources."""

    is_adversarial: np.ndarray
    scores: np.ndarray
    sources: np.ndarray
    num_sources: int

    def auc(self, seed: int) -> estimates.Estimate:
        """Returns the AUC in percent."""
        return estimates.auc(self.is_adversarial, self.scores, self.sources, self.num_sources, seed)

    def auc_less(self, other: Scores, seed: int) -> estimates.Estimate:
        """Returns the difference to another detector's AUC on the same images, in percentage points."""
        value, (low, high) = kf.detectors.bootstrap_auc_difference(
            self.is_adversarial, self.scores, other.scores, self.sources, seed=seed
        )
        return estimates.Sample(100 * value, 100 * low, 100 * high, self.num_sources).to_json()


def score_second_half(
    detector: Any,
    fitted_to: list[np.ndarray],
    tested_on: list[np.ndarray] | None = None,
    rows: np.ndarray | None = None,
) -> Scores:
    """Returns the scores of the second half of the sources by a detector fitted to the first.

    Args:
        detector: with `fit_features`; what it learns is left in it.
        fitted_to: features (n, f) of the adversarial images, and then of each kind of negatives.
        tested_on: the same of what it is tested on, if that is another attack.
        rows: which of the n sources count; None is all.
    """
    rows = np.arange(len(fitted_to[0])) if rows is None else rows
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]

    def together(kinds: list[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        is_adversarial = np.repeat([True] + [False] * (len(kinds) - 1), len(rows))
        return np.concatenate([features[rows] for features in kinds]), is_adversarial

    detector.fit_features(*together(fitted_to, first))
    kinds = fitted_to if tested_on is None else tested_on
    features, is_adversarial = together(kinds, second)
    scores = detector.head_.predict_proba(features)[:, 1]
    return Scores(is_adversarial, scores, np.tile(second, len(kinds)), len(second))
