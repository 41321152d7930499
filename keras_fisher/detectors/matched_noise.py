"""Noise of a chosen length after clipping: the noisy negatives of a detector."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_fisher.attacks import Batch, RandomNoise
from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.typing import Array

#: From the asked norm up to a million times it: then every pixel that can reach a bound has reached it.
_MAX_DOUBLINGS = 20
#: Below the rounding of float32 pixels.
_NUM_BISECTIONS = 30


@suggests_keywords
def matched_noise(classifier: Classifier | keras.Model, images: Array, norms: Array, seed: int = 0) -> Array:
    """Returns the images with Gaussian noise whose *realised* l2 norm is that of `norms`.

    Clipping to the bounds takes a part of the noise away, a quarter of its norm on MNIST. Each image's step
    is therefore lengthened, along its one random direction, until what is left after clipping has the norm
    asked for: the realised norm rises with the step, and bisection finds it to the rounding of the pixels.
    Where even a step that takes every pixel to a bound falls short, that step is taken.

    Args:
        classifier: its bounds clip; without bounds nothing is lost.
        images: (n, h, w, c), in bounds.
        norms: (n,) l2 norms, at least 0, in units of the pixels.
        seed: with the position of an image it determines its noise.

    Returns:
        (n, h, w, c) in the dtype of the model, in bounds.

    Raises:
        TypeError, ValueError: images that do not fit the classifier, or norms that are not one finite number,
            at least 0, for each.

    Source: Zhao et al. 2019, section 4; the paper does not say how its noise is clipped.

    Example:
        >>> import keras_fisher as kf, numpy as np
        >>> images, _ = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5())
        >>> noisy = kf.detectors.matched_noise(classifier, images[:2], np.array([1.0, 3.0]))
        >>> np.linalg.norm((noisy - images[:2]).reshape(2, -1), axis=1).round(4).tolist()
        [1.0, 3.0]
    """
    classifier = as_classifier(classifier)
    images = classifier.check(images)
    norms = _check_norms(norms, len(images))
    attack = RandomNoise(seed=check_integer("seed", seed, 0))
    # Noise has no use for labels.
    labels, positions = np.zeros(len(images), np.int64), np.arange(len(images))
    everything = Batch(images=images, labels=labels, positions=positions)
    batches = everything.split(classifier.default_batch_size())
    return np.concatenate(
        [images[:0], *(_match(attack, classifier, batch, norms[batch.positions]) for batch in batches)]
    )


def _check_norms(norms: Any, num_images: int) -> Array:
    array = np.asarray(norms)
    if array.dtype.kind not in "fiu":
        raise TypeError(message("norms", "be an array of real numbers", f"dtype {array.dtype}"))
    if array.shape != (num_images,):
        raise ValueError(message("norms", f"have the shape ({num_images},)", array.shape))
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(message("norms", "be finite and at least 0", f"values such as {np.min(array)}"))
    return array.astype(np.float64)


def _match(attack: RandomNoise, classifier: Classifier, batch: Batch, norms: Array) -> Array:
    """Returns one batch with noise."""
    directions = np.asarray(attack.prepare(classifier, batch).directions)[:, 0]
    lower, upper = (-np.inf, np.inf) if classifier.bounds is None else classifier.bounds

    def end(epsilon: Array) -> Array:
        lengths = epsilon.astype(directions.dtype).reshape(-1, *[1] * (directions.ndim - 1))
        return np.clip(batch.images + lengths * directions, *np.asarray([lower, upper], directions.dtype))

    def is_short(epsilon: Array) -> Array:
        difference = end(epsilon).astype(np.float64) - batch.images
        return np.linalg.norm(difference.reshape(len(difference), -1), axis=-1) < norms

    below, above = norms, norms  # Clipping only shortens.
    for _ in range(_MAX_DOUBLINGS):
        short = is_short(above)
        if not short.any():
            break
        below, above = np.where(short, above, below), np.where(short, 2 * above, above)
    for _ in range(_NUM_BISECTIONS):
        middle = 0.5 * (below + above)
        short = is_short(middle)
        below, above = np.where(short, middle, below), np.where(short, above, middle)
    return end(above)
