"""The spectrum as features."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from keras_fisher.checks import check_integer, check_real
from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import LOG_FLOOR, ImageView
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class LogEigenvalues(Feature):
    """Natural logarithms of the largest eigenvalues of the Fisher information, descending, at least −230.

    C classes give C − 1 eigenvalues, ten classes nine: the paper's "top 20" are nine values and eleven zeros.

    Args:
        count: the number of columns. Those beyond the rank hold ln 1e-100, a constant that no head learns
            from. None is the rank, no padding.
        temperature: T of p = softmax(z / T). Any but one costs no further pass, since the Jacobian is the
            same. At infinity p is uniform: the spectrum of the Jacobian alone, which does not shrink where
            the classifier is sure.

    Source: Zhao et al. 2019, section 4, with T = 1 and without the logarithm.
    """

    count: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.count is not None:
            check_integer("count", self.count, 1)
        if self.temperature != math.inf:
            check_real("temperature", self.temperature, 0.0, exclusive_minimum=True)

    def of(self, view: ImageView) -> Tensor:
        count = view.rank_bound if self.count is None else self.count
        # A solver is asked for no more than there can be: it may find fewer.
        found = view.log_eigenvalues(self.temperature, min(count, view.rank_bound))
        padding = tf.fill([tf.shape(found)[0], count - found.shape[1]], tf.constant(LOG_FLOOR, tf.float64))
        return tf.concat([found, padding], axis=-1)
