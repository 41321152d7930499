"""The global random states that other libraries draw from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds TensorFlow's and NumPy's global random states for a while.

    NumPy's is put back. TensorFlow's cannot be read, so that it goes on from a number that it drew before:
    repeatable afterwards if it was before, and random if it was.
    """
    successor = int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32))
    # Some attacks of Foolbox draw from NumPy's.
    numpy_state = np.random.get_state()  # noqa: NPY002
    tf.random.set_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        tf.random.set_seed(successor)
