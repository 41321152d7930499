"""Names for the types that cross the public boundary."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

#: (n, h, w, c) pixels: an array, a tensor, or a `tf.data.Dataset` of batches (images or (images, labels)).
Images: TypeAlias = np.ndarray | tf.Tensor | tf.data.Dataset
#: (n,) integer class indices.
Labels: TypeAlias = np.ndarray | tf.Tensor | list[int]
#: An array as NumPy returns it; shapes and dtypes stand in the docstrings.
Array: TypeAlias = np.ndarray
#: TensorFlow ships no usable stubs: a tensor is anything to a type checker.
Tensor: TypeAlias = Any
