"""A view of images whose spectra can be differentiated."""

from __future__ import annotations

import math

import tensorflow as tf

from keras_fisher.classifiers.class_odds import class_odds
from keras_fisher.detectors.features import LOG_FLOOR, ImageView
from keras_fisher.detectors.features.image_view import blur
from keras_fisher.linalg.gram import leading_eigenpairs
from keras_fisher.typing import Tensor


class DifferentiableView(ImageView):
    """An `ImageView` with the same numbers, whose spectra have derivatives, finite and whatever the solver.

    Iterative solvers have none that is worth having, and √q is not to be differentiated at q = 0, as the top
    class has it in `Categorical`: here √q = e^(½ ln q), of the other classes alone.

    The arguments are those of `ImageView`.
    """

    def log_eigenvalues(self, temperature: float = 1.0, count: int | None = None) -> Tensor:
        return self._once(("spectrum", temperature), lambda: self._spectrum(temperature))[:, :count]

    def blurred(self, sigma: float) -> ImageView:
        def compute() -> ImageView:
            images = blur(self.images, sigma)
            return DifferentiableView(self._parameters, images, self.num_classes, self._solver, self._seed)

        return self._once(("blurred", sigma), compute)

    def _spectrum(self, temperature: float) -> Tensor:
        top = tf.argmax(self.logits, axis=-1)
        is_uniform = temperature == math.inf
        logits = tf.zeros_like(self.logits) if is_uniform else self.logits / temperature
        odds = class_odds(logits, top)
        log_scale = odds.log_rest - (0.0 if is_uniform else 2.0 * math.log(temperature))
        # The other classes in order, as the rows of `class_gram`.
        index = tf.range(self.num_classes - 1, dtype=top.dtype)[None, :]
        others = index + tf.cast(index >= top[:, None], top.dtype)
        log_q = tf.nn.log_softmax(tf.gather(logits, others, batch_dims=1), axis=-1)
        # Lᵀ of p = softmax over the scale s = 1 − p_t: rows √q_i (e_i − s q), and −√(p_t s) q of the top.
        q = tf.exp(log_q)[:, None, :]
        s = tf.exp(odds.log_rest)[:, None, None]
        root_top = tf.exp(0.5 * (odds.log_probability + odds.log_rest))[:, None, None]
        identity = tf.eye(self.num_classes - 1, dtype=tf.float64)
        mixing = tf.concat([tf.exp(0.5 * log_q)[:, :, None] * (identity - s * q), -root_top * q], axis=1)
        gram = tf.matmul(mixing, tf.matmul(self.class_gram, mixing, transpose_b=True))
        is_finite = tf.reduce_all(tf.math.is_finite(gram), axis=[1, 2])
        gram = tf.where(is_finite[:, None, None], gram, tf.zeros_like(gram))
        eigenvalues, left = leading_eigenpairs(gram, self.rank_bound)
        # dλ = uᵀ dA u: the derivative of an eigenvector, which equal eigenvalues do not have, is not needed.
        left = tf.stop_gradient(left)
        quotients = tf.reduce_sum(left * tf.matmul(left, gram), axis=-1)
        logs = tf.math.log(tf.where(eigenvalues > 0, eigenvalues, tf.ones_like(eigenvalues)))
        slopes = tf.math.divide_no_nan(quotients - tf.stop_gradient(quotients), tf.stop_gradient(eigenvalues))
        floor = tf.constant(LOG_FLOOR, tf.float64)
        logs = tf.stop_gradient(logs) + slopes + log_scale[:, None]
        return tf.where((eigenvalues > 0) & (logs > floor), logs, floor)
