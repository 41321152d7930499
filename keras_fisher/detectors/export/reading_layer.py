"""Images → what a detector reads of them, as one Keras layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from keras_fisher.attacks.image_ops import where_image
from keras_fisher.classifiers import target_of
from keras_fisher.detectors.features import Feature, ImageView
from keras_fisher.fisher.solvers import Solver
from keras_fisher.linalg.vectors import nan_unless
from keras_fisher.serialization import describe, restore
from keras_fisher.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_fisher")
class ReadingLayer(keras.layers.Layer):
    """The classifier's answer, its Fisher eigenvalues and a detector's features, from the same passes.

    An image with a pixel that is NaN, infinite or out of bounds is not looked at: a neutral one takes its
    place in the batch, and what is returned of it is NaN. So is an image where the network overflows.

    Args:
        model: images (batch, h, w, c) → (batch, classes).
        reading: how logits are read from it, one of `keras_fisher.classifiers.reading.READINGS`.
        bounds: lowest and highest pixel, or None for any finite one.
        num_classes: C.
        features: feature objects, or their description by `describe`.
        num_eigenvalues: k, how many are returned.
        eigensolver: finds them, an object or its description.
        seed: of solvers that start at random.
        lacks_second_derivative: the operation of the model that has none, see `Target`.

    Call arguments:
        images: (batch, h, w, c) in the dtype of the model; the batch may be empty.

    Returns:
        a dict of `class_probabilities` (batch, classes) in the dtype of the model, `eigenvalues` (batch, k)
        float64, descending, `features` (batch, f) float64, and `is_valid` (batch,) bool.
    """

    def __init__(
        self,
        model: keras.Model,
        reading: str,
        bounds: tuple[float, float] | None,
        num_classes: int,
        features: tuple[Feature, ...] | list[Any],
        num_eigenvalues: int,
        eigensolver: Solver | dict[str, Any],
        seed: int,
        *,
        lacks_second_derivative: str | None = None,
        name: str | None = None,
    ) -> None:
        # Images reach the model as they are: another float dtype would move pixels.
        super().__init__(name=name, dtype=_image_dtype(model), autocast=False, trainable=False)
        self.model = model
        self.reading = reading
        self.bounds = None if bounds is None else (float(bounds[0]), float(bounds[1]))
        self.num_classes = num_classes
        self.features = restore(features)
        self.num_eigenvalues = num_eigenvalues
        self.eigensolver = restore(eigensolver)
        self.seed = seed
        self.lacks_second_derivative = lacks_second_derivative
        self._target = dataclasses.replace(
            target_of(model, reading, self.bounds), lacks_second_derivative=lacks_second_derivative
        )

    def call(self, images: Tensor) -> dict[str, Tensor]:
        count = tf.shape(images)[0]
        is_valid = _are_valid(images, self.bounds)
        lowest = self.bounds[0] if self.bounds else 0.0
        images = where_image(is_valid, images, tf.fill(tf.shape(images), tf.cast(lowest, images.dtype)))
        # Convolutions of oneDNN fail on an empty batch.
        spare = tf.fill([tf.maximum(1 - count, 0), *images.shape[1:]], tf.cast(lowest, images.dtype))
        view = ImageView(self._target, tf.concat([images, spare], axis=0), self.eigensolver, self.seed)
        logs = view.log_eigenvalues(count=self.num_eigenvalues)
        readings = {
            "class_probabilities": tf.cast(tf.exp(view.log_probabilities), images.dtype),
            "eigenvalues": tf.exp(logs),
            "features": tf.concat([feature.of(view) for feature in self.features], axis=-1),
        }
        readings = {name: reading[:count] for name, reading in readings.items()}
        for reading in readings.values():
            is_valid &= tf.reduce_all(tf.math.is_finite(reading), axis=-1)
        readings = {name: nan_unless(is_valid, reading) for name, reading in readings.items()}
        return readings | {"is_valid": is_valid}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "reading": self.reading,
            "bounds": self.bounds,
            "num_classes": self.num_classes,
            "features": describe("features", self.features),
            "num_eigenvalues": self.num_eigenvalues,
            "eigensolver": describe("solver", self.eigensolver),
            "seed": self.seed,
            "lacks_second_derivative": self.lacks_second_derivative,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ReadingLayer:
        model = keras.saving.deserialize_keras_object(config["model"])
        return cls(**(config | {"model": model}))


def _image_dtype(model: keras.Model) -> str:
    return keras.backend.standardize_dtype(model.inputs[0].dtype)


def _are_valid(images: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """Returns (batch,) bool: every pixel is finite and within the bounds."""
    fits = tf.math.is_finite(images)
    if bounds is not None:
        fits &= (images >= tf.cast(bounds[0], images.dtype)) & (images <= tf.cast(bounds[1], images.dtype))
    return tf.reduce_all(fits, axis=list(range(1, images.shape.rank)))
