"""The Classifier of a Foolbox model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from foolbox.models.tensorflow import TensorFlowModel

from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier
from keras_fisher.interop.classifier_cache import ClassifierCache
from keras_fisher.interop.standardised_model import standardised_model
from keras_fisher.typing import Array, Tensor

_CACHE = ClassifierCache()


def classifier_of(model: Any, image_shape: tuple[int, ...]) -> Classifier:
    """Returns the Classifier of a foolbox.TensorFlowModel, with its bounds and its preprocessing.

    Args:
        model: of Foolbox, around a keras.Model or a function of tensors.
        image_shape: of one image.

    Raises:
        TypeError: another model of Foolbox, or none.
        ValueError: what no Classifier can be made of.
    """
    if not isinstance(model, TensorFlowModel):
        remedy = "For a Keras model: foolbox.TensorFlowModel(model, bounds=(0, 1))."
        raise TypeError(message("model", "be a foolbox.TensorFlowModel", type(model).__name__, remedy))
    # Foolbox gives no other access to what it wraps.
    inner = model._model
    *moments, flip_axis = model._preprocess_args
    mean, std = (None if moment is None else np.asarray(moment.numpy()) for moment in moments)
    lower, upper = model.bounds
    bounds = None if np.isinf([lower, upper]).all() else (float(lower), float(upper))

    def make() -> Classifier:
        network = inner if isinstance(inner, keras.Model) else _as_keras_model(inner, image_shape)
        return Classifier(standardised_model(network, image_shape, mean, std, flip_axis), bounds=bounds)

    settings = (inner, image_shape, bounds, _key(mean), _key(std), flip_axis)
    return _CACHE.get(model, settings, make)


def _key(array: Array | None) -> Any:
    return None if array is None else (array.shape, array.tobytes())


def _as_keras_model(function: Callable[[Tensor], Tensor], image_shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input(image_shape)
    return keras.Model(inputs, _Function(function)(inputs))


class _Function(keras.layers.Layer):
    """A function of a tensor, (n, *image_shape) → (n, classes)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def call(self, images: Tensor) -> Tensor:
        return self._function(images)
