"""Softmax probabilities seen from one class."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from keras_fisher.typing import Tensor


class ClassOdds(NamedTuple):
    """p = softmax(z) of a batch, split at one class c of each row, exact where softmax rounds to 0 and 1.

    All float64. Every part is formed from differences of logits, never from a rounded probability.
    """

    #: (batch, classes) 1 at c, 0 elsewhere.
    is_class: Tensor
    #: (batch,) log p_c
    log_probability: Tensor
    #: (batch,) log (1 − p_c)
    log_rest: Tensor
    #: (batch, classes) q_j = p_j / (1 − p_c) for j ≠ c, and 0 at c; sums to one.
    rest: Tensor

    @property
    def log_odds(self) -> Tensor:
        """(batch,) log p_c − log(1 − p_c): rises with p_c and does not saturate."""
        return self.log_probability - self.log_rest

    @property
    def loss_gradient(self) -> Tensor:
        """(batch, classes) ∂(−log p_c)/∂z over its scale 1 − p_c: q_j for j ≠ c, −1 at c.

        The scale is positive and may underflow; the direction is all that an attack needs.
        """
        return self.rest - self.is_class


def class_odds(logits: Tensor, classes: Tensor) -> ClassOdds:
    """Returns the split of each row at its class.

    Args:
        logits: (batch, classes), any float dtype.
        classes: (batch,) integer.
    """
    logits = tf.cast(logits, tf.float64)
    is_class = tf.one_hot(classes, logits.shape[1], dtype=tf.float64)
    of_class = tf.reduce_sum(logits * is_class, axis=-1, keepdims=True)
    # No infinity, which TensorFlow's own check of numerics would stop at; its exponential is zero as well.
    lowest = tf.constant(-1e300, tf.float64)
    others = tf.where(is_class > 0, lowest, logits - of_class)
    log_odds_against = tf.reduce_logsumexp(others, axis=-1)  # log Σ_{j≠c} e^{z_j − z_c}
    log_probability = -tf.math.softplus(log_odds_against)
    return ClassOdds(
        is_class,
        log_probability,
        log_odds_against + log_probability,
        tf.exp(others - log_odds_against[:, None]),
    )
