"""A linear model with the exact least norms of its images, and margins."""

from __future__ import annotations

import numpy as np

import keras_fisher as kf
from keras_fisher import testing


def flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).astype(np.float64)


def margins(classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) how far the logit of the label lies above the largest other one."""
    logits = np.array(classifier.logits(images))
    of_label = logits[np.arange(len(labels)), labels].copy()
    logits[np.arange(len(labels)), labels] = -np.inf
    return of_label - logits.max(axis=-1)


def softmax_regression(num_classes: int) -> tuple[kf.Classifier, np.ndarray, np.ndarray]:
    """A linear softmax model of unbounded 4 × 4 images, with images and their exact least norms."""
    model = testing.small_net("dense", num_classes=num_classes, image_shape=(4, 4, 1), seed=5)
    pixels = np.random.default_rng(3).uniform(size=(12, 4, 4, 1)).astype(np.float32)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    logits = flat(pixels) @ kernel + bias
    top = logits.argmax(axis=-1)
    normals = kernel[:, None, :] - kernel[:, :, None]  # normals[:, y, j] = w_j − w_y
    gaps = logits[np.arange(len(top)), top][:, None] - logits
    lengths = np.linalg.norm(normals, axis=0)[top]
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.where(lengths > 0, gaps / lengths, np.inf)
    return kf.Classifier(model, bounds=None), pixels, distances
