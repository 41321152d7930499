"""Classes for a targeted attack to seek."""

from __future__ import annotations

import keras
import numpy as np

from keras_fisher.checks import check_integer
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.classifiers.image_check import check_labels
from keras_fisher.typing import Array, Images, Labels


def random_targets(labels: Labels, num_classes: int, seed: int = 0) -> Array:
    """Returns (n,) int64, for each image a uniformly random class that is not its label.

    Args:
        labels: (n,) class indices.
        num_classes: C ≥ 2.
        seed: with the position of an image it determines its target.

    Raises:
        TypeError, ValueError: labels that are no classes, or a bad number.

    Example:
        >>> import keras_fisher as kf
        >>> targets = kf.attacks.random_targets([3, 3, 1], num_classes=10)
        >>> targets.shape, bool((targets != [3, 3, 1]).all())
        ((3,), True)
    """
    check_integer("num_classes", num_classes, 2)
    check_integer("seed", seed, 0)
    known = check_labels(labels, np.size(labels), num_classes)
    offsets = [np.random.default_rng([seed, place]).integers(1, num_classes) for place in range(len(known))]
    return (known + np.asarray(offsets, np.int64)) % num_classes


def least_likely_targets(
    classifier: Classifier | keras.Model, images: Images, labels: Labels, batch_size: int | None = None
) -> Array:
    """Returns (n,) int64, for each image the class of least probability that is not its label.

    Args:
        classifier: a Classifier or a keras.Model.
        images: (n, h, w, c) within the bounds.
        labels: (n,) class indices.
        batch_size: images at once; None chooses by their size.

    Raises:
        TypeError, ValueError: images or labels that do not fit.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial machine learning at scale".

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> kf.attacks.least_likely_targets(kf.models.lenet5(weights="mnist"), images[:4], labels[:4]).shape
        (4,)
    """
    classifier = as_classifier(classifier)
    logits = np.array(classifier.logits(images, batch_size))
    known = check_labels(labels, len(logits), classifier.num_classes)
    logits[np.arange(len(logits)), known] = np.inf
    return logits.argmin(axis=-1)
