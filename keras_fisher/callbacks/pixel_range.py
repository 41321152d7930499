"""The lowest and the highest pixel that training has seen."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import message
from keras_fisher.typing import Tensor

#: Lowest and highest of no pixels.
_EMPTY = (float("inf"), -float("inf"))


class PixelRange:
    """Refuses images outside of the bounds, after a step: XLA raises no error within one.

    Args:
        strategy: of the model; each of its replicas keeps a range of its own.
        bounds: lowest and highest pixel; None takes any.
    """

    def __init__(self, strategy: tf.distribute.Strategy, bounds: tuple[float, float] | None) -> None:
        self._strategy = strategy
        self._bounds = bounds
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
        remedy = "Pass the bounds of the pixels: OSSACallback(bounds=(lowest, highest))."
        if self._bounds == (0.0, 1.0) and highest > 1.5 and lowest >= 0.0:
            remedy = "Divide 8-bit pixels by 255, or pass bounds=(0, 255) and an epsilon to match."
        rule = f"be within the bounds [{lower:g}, {upper:g}]"
        raise ValueError(message("images", rule, f"[{lowest:g}, {highest:g}] in training", remedy))
