"""What the layers of fitted heads share: checks, dtype, missing values."""

from __future__ import annotations

import abc
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.linalg.vectors import nan_unless
from keras_fisher.typing import Array


class ProbabilityLayer(keras.layers.Layer, abc.ABC):
    """A fitted classifier of features as TensorFlow ops, in float64 whatever the global dtype policy.

    A subclass writes `probabilities`, makes its weights in `__init__` and states its sizes in `get_config`: a
    layer made from the config takes the weights of a `.keras` file. Until then its probabilities are NaN.
    Nothing in it is trained.

    Args:
        num_features: f, the width of what it is given.
        num_classes: of what it returns.
        name: of the layer.

    Call arguments:
        features: (batch, f), any real dtype, which becomes float64. float64 is read as it is; TensorFlow
            takes subnormal float32 for zero.

    Returns:
        (batch, classes) float64. NaN where a feature is NaN.
    """

    @suggests_keywords
    def __init__(self, num_features: int, num_classes: int = 2, *, name: str | None = None) -> None:
        # Keras would round to its own float dtype what a mixed-precision policy is set for.
        super().__init__(name=name, dtype="float64", autocast=False, trainable=False)
        self.num_features = check_integer("num_features", num_features, 1)
        self.num_classes = check_integer("num_classes", num_classes, 2)

    @abc.abstractmethod
    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        """Returns (batch, classes) float64; where a feature is NaN, anything.

        Args:
            features: (batch, f) float64.
        """

    @final
    def call(self, features: Any) -> tf.Tensor:
        features = self.as_features(features)
        is_missing = tf.reduce_any(tf.math.is_nan(features), axis=1)
        return nan_unless(~is_missing, self.probabilities(features))

    @final
    def as_features(self, features: Any) -> tf.Tensor:
        """Returns (batch, f) float64.

        Raises:
            TypeError: neither floats, integers nor bools.
            ValueError: another shape.
        """
        features = tf.convert_to_tensor(features)
        if not (features.dtype.is_floating or features.dtype.is_integer or features.dtype.is_bool):
            raise TypeError(message("features", "be real numbers", features.dtype.name))
        if not features.shape.is_compatible_with((None, self.num_features)):
            rule = f"have shape (batch, {self.num_features})"
            remedy = "This head was fitted to that many features."
            raise ValueError(message("features", rule, str(tuple(features.shape)), remedy))
        # What is known only as the graph runs is checked there.
        return tf.cast(tf.ensure_shape(features, (None, self.num_features)), tf.float64)

    @final
    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0], self.num_classes)

    @final
    def constant(self, name: str, shape: tuple[int, ...], initial: float, dtype: str = "float64") -> Any:
        """Returns a new weight that is not trained and that no dtype policy casts.

        Args:
            name: of the weight in a `.keras` file.
            shape: its shape.
            initial: every entry, until the weight is assigned.
            dtype: "float64" or "int32".
        """

        def initializer(shape: Any, dtype: Any) -> Array:
            # Of NumPy, which TensorFlow's own check of numerics lets pass.
            return np.full(shape, initial, keras.backend.standardize_dtype(dtype))

        return self.add_weight(
            name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False, autocast=False
        )
