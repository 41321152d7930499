"""The softmax as features."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import ImageView
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class LogProbabilities(Feature):
    """Log-probabilities of all classes, the most probable first, in nats: no Fisher information needed."""

    def of(self, view: ImageView) -> Tensor:
        return tf.sort(view.log_probabilities, axis=-1, direction="DESCENDING")
