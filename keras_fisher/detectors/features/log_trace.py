"""The whole of the Fisher information in one number."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import LOG_FLOOR, ImageView
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class LogTrace(Feature):
    """ln tr G: the mean squared norm of the gradient of log p(y), y drawn from the classifier's answer."""

    def of(self, view: ImageView) -> Tensor:
        # ln Σ e^(ln λ). Eigenvalues at the floor are zeros, of no weight unless all are.
        logs = view.log_eigenvalues()
        return tf.maximum(tf.reduce_logsumexp(logs, axis=-1, keepdims=True), LOG_FLOOR)
