"""Probabilities → the verdict of a detector, as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_fisher.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_fisher")
class VerdictLayer(keras.layers.Layer):
    """Whether an image is to be taken for adversarial: its probability reaches the threshold, or it has none.

    Args:
        threshold: of the probability.

    Call arguments:
        probabilities: (batch, 2) float64, of not adversarial and of adversarial; NaN where the image is not
            one that the classifier can be asked about.

    Returns:
        a dict of `adversarial_probability` (batch,) float64, and `is_adversarial` (batch,) bool, True for NaN
        too: what cannot be judged is not let through.
    """

    def __init__(self, threshold: float, *, name: str | None = None) -> None:
        super().__init__(name=name, dtype="float64", autocast=False, trainable=False)
        self.threshold = float(threshold)

    def call(self, probabilities: Tensor) -> dict[str, Tensor]:
        probability = probabilities[:, 1]
        # Not "not <": TensorFlow's optimiser of graphs makes that "≥", which is false for NaN.
        is_flagged = (probability >= tf.constant(self.threshold, tf.float64)) | tf.math.is_nan(probability)
        return {"adversarial_probability": probability, "is_adversarial": is_flagged}

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "threshold": self.threshold}
