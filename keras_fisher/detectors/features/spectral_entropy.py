"""Over how many directions the Fisher information is spread."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import ImageView
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class SpectralEntropy(Feature):
    """−Σ w ln w of the shares w = λ / tr G, in nats: 0 for one fragile direction, ln(C − 1) for all alike."""

    def of(self, view: ImageView) -> Tensor:
        log_shares = tf.nn.log_softmax(view.log_eigenvalues(), axis=-1)
        return -tf.reduce_sum(tf.exp(log_shares) * log_shares, axis=-1, keepdims=True)
