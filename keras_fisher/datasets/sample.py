"""A packaged sample of MNIST: real images for examples and tests, without a download."""

from __future__ import annotations

import pathlib

import numpy as np

_FILE = pathlib.Path(__file__).with_name("mnist_sample.npz")


def mnist_sample() -> tuple[np.ndarray, np.ndarray]:
    """Returns 1,000 images of MNIST's test split and their labels, 100 of each class.

    They are the first 100 images of each class in the order of `load("mnist", "test")`, and stay in that
    order. `scripts/package_mnist_sample.py` writes them.

    Returns:
        images: (1000, 28, 28, 1) float32, in [0, 1].
        labels: (1000,) int64, in [0, 9].

    Example:
        >>> from keras_fisher import datasets
        >>> images, labels = datasets.mnist_sample()
        >>> images.shape, labels[:5].tolist()
        ((1000, 28, 28, 1), [2, 0, 4, 8, 7])
    """
    with np.load(_FILE, allow_pickle=False) as stored:
        return stored["images"].astype(np.float32) / np.float32(255), stored["labels"].astype(np.int64)


def mnist_sample_positions() -> np.ndarray:
    """Returns where the sample's images stand in `load("mnist", "test")`, for leaving them out of a test.

    Returns:
        (1000,) int64, ascending, in [0, 9999].
    """
    with np.load(_FILE, allow_pickle=False) as stored:
        return stored["positions"].astype(np.int64)
