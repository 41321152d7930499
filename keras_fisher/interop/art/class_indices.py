"""Labels as ART users pass them."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_fisher.classifiers.image_check import check_labels
from keras_fisher.typing import Array


def class_indices(labels: Any, num_images: int, num_classes: int, argument: str = "y") -> Array:
    """Returns (n,) int64 class indices.

    Args:
        labels: (n,) or (n, 1) indices, as integers or whole floats; or (n, classes) scores, such as one-hot
            rows, of which the greatest counts.
        num_images: n.
        num_classes: at least 2.
        argument: the name that an error gives.

    Raises:
        TypeError, ValueError: neither.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == num_classes:
        array = array.argmax(axis=-1)
    elif array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind == "f" and (array == np.floor(array)).all():
        array = array.astype(np.int64)
    return check_labels(array, num_images, num_classes, argument)
