"""How unsure the classifier is over all classes."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import LOG_FLOOR, ImageView
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class LogEntropy(Feature):
    """ln of the entropy −Σ p ln p of the prediction, at least −230, formed without cancellation."""

    def of(self, view: ImageView) -> Tensor:
        logs = view.log_probabilities
        # ln (p |ln p|); a class of p = 1 or p = 0 adds nothing.
        magnitudes = tf.maximum(-logs, 0.0)
        is_positive = magnitudes > 0
        terms = logs + tf.math.log(tf.where(is_positive, magnitudes, tf.ones_like(magnitudes)))
        terms = tf.where(is_positive, terms, tf.constant(2 * LOG_FLOOR, tf.float64))
        return tf.maximum(tf.reduce_logsumexp(terms, axis=-1, keepdims=True), LOG_FLOOR)
