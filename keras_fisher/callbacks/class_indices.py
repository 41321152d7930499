"""Class indices of what a loss compares with."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_fisher.checks import message
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
