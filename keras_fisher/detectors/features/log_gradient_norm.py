"""The length of the gradient that FGM follows."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import LOG_FLOOR, ImageView
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class LogGradientNorm(Feature):
    """ln ‖∇(−log p)‖₂ of the most probable class in the image, at least −230.

    From inner products of class gradients, which the spectrum needs too: it costs no pass beside that.
    """

    def of(self, view: ImageView) -> Tensor:
        # ∇(−log p_t) = (1 − p_t) Σ_{j≠t} q_j ∇(z_j − z_t); the rows of the Gram matrix are in class order.
        num_classes = view.num_classes
        top = tf.argmax(view.odds.is_class, axis=-1, output_type=tf.int32)
        index = tf.range(num_classes - 1)[None, :]
        others = index + tf.cast(index >= top[:, None], tf.int32)
        rest = tf.gather(view.odds.rest, others, batch_dims=1)
        squares = tf.reduce_sum(rest * tf.linalg.matvec(view.class_gram, rest), axis=-1)
        is_positive = squares > 0
        logs = 0.5 * tf.math.log(tf.where(is_positive, squares, tf.ones_like(squares))) + view.odds.log_rest
        floor = tf.constant(LOG_FLOOR, tf.float64)
        return tf.where(is_positive, tf.maximum(logs, floor), floor)[:, None]
