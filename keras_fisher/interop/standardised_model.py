"""A Keras model with the preprocessing that another library puts before it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_fisher.typing import Array


def standardised_model(
    model: keras.Model,
    image_shape: tuple[int | None, ...],
    mean: Array | None = None,
    std: Array | None = None,
    flip_axis: int | None = None,
) -> keras.Model:
    """Returns the model of the images before preprocessing: images → model((flipped images − mean) / std).

    The weights are shared, and gradients go through. Where there is nothing to do, the model itself returns.

    Args:
        model: images → outputs.
        image_shape: of one image; what a model that is not built yet is given.
        mean: broadcasts with (batch, *image_shape); None for 0.
        std: likewise; None for 1.
        flip_axis: the axis of the batch of images that is turned round, such as −1 from RGB to BGR.
    """
    has_shape = bool(getattr(model, "inputs", None))
    if has_shape and flip_axis is None and is_neutral(mean, 0.0) and is_neutral(std, 1.0):
        return model
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype) if has_shape else "float32"
    inputs = keras.Input(image_shape, dtype=dtype)
    images: Any = inputs
    if flip_axis is not None:
        images = keras.ops.flip(images, axis=flip_axis)
    if not is_neutral(mean, 0.0):
        images = keras.ops.subtract(images, np.asarray(mean, dtype))
    if not is_neutral(std, 1.0):
        images = keras.ops.divide(images, np.asarray(std, dtype))
    return keras.Model(inputs, model(images), name=f"{model.name}_of_raw_images")


def is_neutral(value: Array | None, neutral: float) -> bool:
    """Returns whether a mean of 0, or a standard deviation of 1, leaves everything as it is."""
    return value is None or bool(np.all(np.asarray(value) == neutral))
