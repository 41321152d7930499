"""Max softmax, where it does not saturate."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import LOG_FLOOR, ImageView
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class LogDoubt(Feature):
    """ln (1 − p) of the most probable class, at least −230: the order of max softmax, without ties at 1.

    Source: Hendrycks and Gimpel 2017 (max softmax).
    """

    def of(self, view: ImageView) -> Tensor:
        return tf.maximum(view.odds.log_rest, LOG_FLOOR)[:, None]
