"""What training sees of a batch: class indices, the range of the pixels, and a model that knows its input."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import message
from keras_fisher.classifiers.image_check import range_remedy
from keras_fisher.typing import Tensor


def class_indices(labels: Any, num_classes: int) -> Tensor | None:
    """Returns (batch,) class indices of what a loss compares with: indices, or rows of probabilities.

    None, for the model's own answers, where there are no labels.

    Raises:
        ValueError: another shape.
    """
    if labels is None:
        return None
    labels = tf.convert_to_tensor(labels)
    rank = labels.shape.rank
    if rank == 2 and labels.shape[1] == num_classes:
        return tf.argmax(labels, axis=-1)
    if rank == 1 or (rank == 2 and labels.shape[1] == 1):
        return tf.cast(tf.reshape(labels, [-1]), tf.int64)
    rule = f"be class indices, (batch,), or rows of probabilities, (batch, {num_classes})"
    raise ValueError(message("labels", rule, f"the shape {labels.shape}"))


#: Lowest and highest of no pixels.
_EMPTY = (3e38, -3e38)


class PixelRange:
    """Refuses images outside of the bounds, after a step: XLA raises no error within one.

    Args:
        strategy: of the model; each of its replicas keeps a range of its own.
        bounds: lowest and highest pixel; None takes any.
        has_rescaling: whether the model has a Rescaling layer of its own.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        bounds: tuple[float, float] | None,
        has_rescaling: bool = False,
    ) -> None:
        self._strategy = strategy
        self._bounds = bounds
        self._has_rescaling = has_rescaling
        with strategy.scope():
            self._range = keras.Variable(
                _EMPTY, trainable=False, synchronization="on_read", aggregation="only_first_replica"
            )

    def reset(self) -> None:
        """Forgets what it has seen."""
        self._range.assign(_EMPTY)

    def observe(self, images: Tensor) -> None:
        """Takes the pixels of a batch in, in a graph."""
        lowest, highest = tf.unstack(tf.convert_to_tensor(self._range))
        lowest = tf.minimum(lowest, tf.cast(tf.reduce_min(images), lowest.dtype))
        highest = tf.maximum(highest, tf.cast(tf.reduce_max(images), highest.dtype))
        self._range.assign(tf.stack([lowest, highest]))

    def check(self) -> None:
        """Raises a ValueError if some image was outside of the bounds, or NaN."""
        replicas = self._strategy.experimental_local_results(self._range.value)
        ranges = np.stack([np.asarray(replica) for replica in replicas])
        lowest, highest = ranges[:, 0].min(), ranges[:, 1].max()  # NaN if one is
        is_empty = lowest > highest
        if self._bounds is None or is_empty:
            return
        # In the precision of the pixels: 0.3 in float32 is above 0.3.
        lower, upper = np.asarray(self._bounds, ranges.dtype)
        if lowest >= lower and highest <= upper:
            return
        remedy = range_remedy(self._bounds, lowest, highest, self._has_rescaling, "OSSACallback(")
        remedy += " Epsilon is in the same unit."
        rule = f"be within the bounds [{lower:g}, {upper:g}]"
        raise ValueError(message("images", rule, f"[{lowest:g}, {highest:g}] in training", remedy))


def with_inputs(model: Any) -> keras.Model:
    """Returns the model, or one around it that knows its input, for a subclassed model that is built."""
    if getattr(model, "inputs", None):
        return model
    shape = (model.get_build_config() or {}).get("input_shape") or [()]
    if not all(side is None or isinstance(side, int) for side in shape):
        rule = "take one tensor of images as its only input"
        raise ValueError(message("model", rule, f"a {type(model).__name__} built on {shape}"))
    inputs = keras.Input(shape[1:])
    return keras.Model(inputs, model(inputs))
