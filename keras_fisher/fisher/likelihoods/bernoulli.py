"""Several independent labels: sigmoid."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.fisher.likelihoods.likelihood import DiagonalMetric, Likelihood, OutputMetric
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Each label is on with p = sigmoid(z), independently (multi-label); M = diag(p (1 − p))."""

    output_activation = "sigmoid"

    def metric(self, parameters: Tensor) -> OutputMetric:
        # log p + log(1 − p) = −softplus(−z) − softplus(z): exact where sigmoid rounds to one.
        log_variances = -tf.math.softplus(-parameters) - tf.math.softplus(parameters)
        log_scale = tf.reduce_max(log_variances, axis=-1)
        return DiagonalMetric(tf.exp(log_variances - log_scale[:, None]), log_scale)

    def rank_bound(self, num_outputs: int) -> int:
        return num_outputs
