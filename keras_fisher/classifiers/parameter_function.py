"""A Keras model as a differentiable function from images to the parameters of a distribution."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_option
from keras_fisher.classifiers.final_activation import without_final_activation
from keras_fisher.typing import Tensor

#: "as_is": the model puts out z; "stripped": z is under its final activation; "log": z is the log of it.
READINGS = ("as_is", "stripped", "log")


class ParameterFunction:
    """images → z (batch, outputs), in inference mode.

    Args:
        model: images (batch, *image_shape) → z, or the link of z.
        reading: how z is read from it, one of `READINGS`.
    """

    def __init__(self, model: keras.Model, reading: str) -> None:
        self.reading = check_option("reading", reading, READINGS)
        self.model = without_final_activation(model) if reading == "stripped" else model

    def __call__(self, images: Tensor) -> Tensor:
        outputs = tf.convert_to_tensor(self.model(images, training=False))
        if outputs.dtype in (tf.float16, tf.bfloat16):
            outputs = tf.cast(outputs, tf.float32)
        if self.reading == "log":
            outputs = tf.math.log(tf.maximum(outputs, np.finfo(outputs.dtype.as_numpy_dtype).tiny))
        return outputs
