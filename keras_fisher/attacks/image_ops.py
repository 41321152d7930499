"""Arithmetic on batches of images, (n, h, w, c) or (n, ...), in a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_fisher.checks import suggests_keywords
from keras_fisher.typing import Tensor

Bounds = tuple[float, float]


def pixel_range(bounds: Bounds | None) -> float:
    """Returns the unit of lengths: highest less lowest pixel; 1 without bounds."""
    return 1.0 if bounds is None else bounds[1] - bounds[0]


def clip_to(bounds: Bounds | None, images: Tensor) -> Tensor:
    """Returns the images within the bounds; None is no bounds."""
    if bounds is None:
        return images
    lower, upper = np.asarray(bounds, images.dtype.as_numpy_dtype)
    return tf.clip_by_value(images, lower, upper)


def free_pixels(bounds: Bounds | None, images: Tensor, directions: Tensor) -> Tensor:
    """Returns the directions without the pixels that stand at a bound and would leave it."""
    if bounds is None:
        return directions
    lower, upper = np.asarray(bounds, images.dtype.as_numpy_dtype)
    is_held = ((images <= lower) & (directions < 0)) | ((images >= upper) & (directions > 0))
    return tf.where(is_held, tf.zeros_like(directions), directions)


def norms(images: Tensor, dtype: Any = tf.float64) -> Tensor:
    """Returns (n,) float64 l2 norms; squares are summed in `dtype`."""
    flat = tf.cast(tf.reshape(images, [tf.shape(images)[0], -1]), dtype)
    return tf.sqrt(tf.cast(tf.reduce_sum(tf.square(flat), axis=-1), tf.float64))


@suggests_keywords
def unit(images: Tensor) -> Tensor:
    """Returns the images at unit l2 norm; zero stays zero, and what is not finite becomes it."""
    return scaled(images, tf.ones(tf.shape(images)[:1], tf.float64))


def scaled(images: Tensor, lengths: Tensor, dtype: Any = tf.float64) -> Tensor:
    """Returns the images at these l2 norms (n,) float64; zero stays zero, what is not finite becomes it."""
    # In two steps: length over norm may overflow where neither of them does.
    found = norms(images, dtype)
    factors = per_image(tf.math.divide_no_nan(tf.ones_like(found), found), images)
    factors = tf.where(tf.math.is_finite(factors), factors, tf.zeros_like(factors))
    return tf.math.multiply_no_nan(images, factors) * per_image(lengths, images)


def per_image(factors: Tensor, images: Tensor) -> Tensor:
    """Returns (n,) factors with the dtype and the number of axes of the images."""
    return tf.reshape(tf.cast(factors, images.dtype), [-1, *[1] * (images.shape.rank - 1)])


def where_image(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Returns the images of `first` where `mask` (n,) is True, else those of `second`."""
    return tf.where(tf.reshape(mask, [-1, *[1] * (first.shape.rank - 1)]), first, second)


def is_finite(images: Tensor) -> Tensor:
    """Returns (n,) bool: no entry is NaN or infinite."""
    return tf.reduce_all(tf.math.is_finite(images), axis=list(range(1, images.shape.rank)))


def normal_images(images: Tensor, seed: Tensor, stream: int | Tensor = 0) -> Tensor:
    """Returns Gaussian noise of the shape of the images, of each by its own seed, whatever the batch.

    Args:
        images: (n, ...).
        seed: (n, 2) integer.
        stream: numbers draws of one seed that are to be independent.
    """
    shape = images.shape[1:]
    return tf.map_fn(
        lambda pair: tf.random.stateless_normal(shape, _folded(pair, stream), dtype=images.dtype),
        seed,
        fn_output_signature=images.dtype,
    )


def uniform_numbers(seed: Tensor, stream: int | Tensor = 0) -> Tensor:
    """Returns (n,) float64 uniform in [0, 1), each by its own seed; arguments as of `normal_images`."""
    return tf.map_fn(
        lambda pair: tf.random.stateless_uniform([], _folded(pair, stream), dtype=tf.float64),
        seed,
        fn_output_signature=tf.float64,
    )


def _folded(seed: Tensor, stream: int | Tensor) -> Tensor:
    return tf.random.fold_in(tf.cast(seed, tf.int32), stream)


def seeds_of_images(seed: Tensor, images: Tensor) -> Tensor:
    """Returns (n, 2) int32: a seed for each image of a batch from one (2,) integer seed of the batch."""
    seed = tf.cast(seed, tf.int32)
    count = tf.shape(images)[0]
    each = tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32)
    return tf.stack([tf.fill([count], seed[0]), each], axis=1)


def seeds_at(seeds: Tensor, step: Tensor) -> Tensor:
    """Returns the seeds (n, 2) of images at the step of this number."""
    return seeds + tf.stack([0, 1_000_003 * step])
