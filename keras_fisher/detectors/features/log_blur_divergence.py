"""What a light blur does to the prediction."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.checks import check_real
from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import ImageView, check_blurred_shape
from keras_fisher.typing import Tensor

#: ln of what counts as no change: float64 rounds p (ln p − ln q) near there.
_LOG_ROUNDING = -36.0


@dataclasses.dataclass(frozen=True)
class LogBlurDivergence(Feature):
    """ln KL(p(x) ‖ p(blurred x)) and ln KL of the reverse, in nats, two columns, at least −36.

    Args:
        sigma: standard deviation of the Gaussian in pixels, in a window of 3 × 3.

    Source: ours; Xu, Evans and Qi 2018 take the l1 distance of the two predictions.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("sigma", self.sigma, 0.0, exclusive_minimum=True)

    def check_image_shape(self, image_shape: tuple[int | None, ...]) -> None:
        check_blurred_shape(image_shape)

    def of(self, view: ImageView) -> Tensor:
        before, after = view.log_probabilities, view.blurred(self.sigma).log_probabilities
        return tf.stack([_log_divergence(before, after), _log_divergence(after, before)], axis=-1)


def _log_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Returns (batch,) ln KL(p ‖ q) of two log-probabilities (batch, classes)."""
    # p − q sums to zero: added, every term p ln(p/q) − p + q is at least zero.
    p, q = tf.exp(first), tf.exp(second)
    divergence = tf.reduce_sum(p * (first - second) - p + q, axis=-1)
    least = tf.exp(tf.constant(_LOG_ROUNDING, tf.float64))
    return tf.math.log(tf.maximum(divergence, least))
