"""The check of images at the public boundary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import message
from keras_fisher.typing import Array

Bounds = tuple[float, float]

#: The call that a remedy passes `bounds` to, as far as that argument, where nothing else is said.
_MAKER = "kf.Classifier(model, "


def check_bounds(bounds: Any) -> Bounds | None:
    """Returns the bounds as a pair of floats, lower below upper, or None.

    Raises:
        ValueError: not a pair of finite numbers in ascending order.
    """
    if bounds is None:
        return None
    try:
        if isinstance(bounds, str):
            raise TypeError
        lower, upper = (float(value) for value in bounds)
    except (TypeError, ValueError):
        lower = upper = float("nan")
    if not (np.isfinite(lower) and np.isfinite(upper) and lower < upper):
        raise ValueError(
            message(
                "bounds",
                "be a pair (lower, upper) or None",
                repr(bounds),
                "Pixels in [0, 1]: bounds=(0.0, 1.0).",
            )
        )
    return lower, upper


def read_dataset(images: Any, image_rank: int) -> Iterator[tuple[Array, Array | None]] | None:
    """Returns what yields the batches of a Dataset, images and labels if there are any; None for an array.

    Args:
        images: a `tf.data.Dataset` of batches, of images or of (images, labels), or anything else.
        image_rank: the number of axes of one image.

    Raises:
        TypeError: a generator, a `keras.utils.PyDataset`, a Dataset of dicts, or any while a graph is traced.
        ValueError: a Dataset without an end, or one that does not come in batches.
    """
    check_eager("images")
    if isinstance(images, (keras.utils.PyDataset, Iterator)):
        remedy = "Collect it: np.concatenate([batch for batch, _ in data]), or wrap it in a tf.data.Dataset."
        rule = "be an array, a tensor or a tf.data.Dataset"
        raise TypeError(message("images", rule, type(images).__name__, remedy))
    if not isinstance(images, tf.data.Dataset):
        return None
    dataset: Any = images
    if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        remedy = "Call .take(n) on it."
        raise ValueError(message("images", "come to an end", "a Dataset without one", remedy))
    element = dataset.element_spec
    if isinstance(element, dict):
        remedy = "Map it first: dataset.map(lambda row: (row['image'], row['label']))."
        raise TypeError(message("images", "hold images, or images and labels", "dicts", remedy))
    shape = getattr(element[0] if isinstance(element, tuple) else element, "shape", None)
    if shape is not None and shape.rank == image_rank:
        remedy = "Call dataset.batch(256)."
        raise ValueError(message("images", "come in batches", f"elements of shape {shape}", remedy))
    return (_pair(part) for part in dataset.as_numpy_iterator())


def _pair(element: Any) -> tuple[Array, Array | None]:
    if not isinstance(element, tuple):
        return element, None
    return element[0], np.atleast_1d(element[1]) if len(element) > 1 else None


def check_eager(argument: str) -> None:
    """Refuses a call while a graph is traced: its images have no values yet, and its answer would be frozen.

    Raises:
        TypeError: so it is.
    """
    if not tf.executing_eagerly():
        remedy = (
            "Call it outside. In a graph there are kf.layers.FisherEigenvalues, kf.layers.OSSALayer, "
            "kf.losses.FisherRegularizer and kf.Classifier(model).target.logits."
        )
        raise TypeError(message(argument, "have values", "a call within a tf.function", remedy))


def check_images(
    images: Any,
    image_shape: tuple[int | None, ...],
    bounds: Bounds | None,
    argument: str = "images",
    dtype: Any = np.float32,
    *,
    has_rescaling: bool = False,
    maker: str = _MAKER,
) -> Array:
    """Returns the images as a float array.

    Args:
        images: (batch, *image_shape), within bounds.
        image_shape: what the model takes; None where any size will do.
        bounds: lowest and highest pixel, or None to take any finite pixel.
        argument: the name that an error gives.
        dtype: of the result.
        has_rescaling: whether the model brings pixels of another range to its own by itself.
        maker: the call that a remedy passes `bounds` to, as far as that argument.

    Raises:
        TypeError: not numeric.
        ValueError: another shape, NaN or infinity, or a pixel out of bounds.
    """
    try:
        array = np.asarray(images)
    except (TypeError, ValueError) as error:
        raise TypeError(message(argument, "be an array of numbers", type(images).__name__)) from error
    if array.dtype.kind not in "fiub":
        raise TypeError(message(argument, "be an array of numbers", f"dtype {array.dtype}"))
    matches = array.ndim == len(image_shape) + 1 and all(
        wanted is None or wanted == given for wanted, given in zip(image_shape, array.shape[1:], strict=True)
    )
    if not matches:
        wanted_shape = ", ".join("any" if side is None else str(side) for side in image_shape)
        remedy = ""
        if array.ndim == len(image_shape):
            is_grey = image_shape[-1] == 1 and array.shape[1:] == tuple(image_shape[:-1])
            remedy = "A single image needs a batch axis: images[None]."
            remedy = "Grey images need a channel axis: images[..., None]." if is_grey else remedy
        raise ValueError(message(argument, f"have the shape (batch, {wanted_shape})", array.shape, remedy))
    array = array.astype(dtype, copy=False)
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
        raise ValueError(
            message(
                argument,
                "be finite",
                f"NaN or infinity in {len(bad)} of {len(array)} images, first at index {bad[0]}",
            )
        )
    if bounds is not None and array.size:
        lowest, highest = array.min(), array.max()
        # In the images' own precision: 0.3 in float32 is above 0.3.
        if lowest < array.dtype.type(bounds[0]) or highest > array.dtype.type(bounds[1]):
            remedy = range_remedy(bounds, lowest, highest, has_rescaling, maker)
            raise ValueError(
                message(
                    argument,
                    f"be within the bounds [{bounds[0]:g}, {bounds[1]:g}]",
                    f"[{lowest:g}, {highest:g}]",
                    remedy,
                )
            )
    return array


def range_remedy(
    bounds: Bounds,
    lowest: float,
    highest: float,
    has_rescaling: bool,
    maker: str = _MAKER,
) -> str:
    """Returns what to do about pixels out of bounds.

    Args:
        bounds: lowest and highest pixel allowed.
        lowest: the lowest found.
        highest: the highest found.
        has_rescaling: whether the model has a Rescaling layer.
        maker: see `check_images`.
    """
    if bounds == (0.0, 1.0) and highest > 1.5 and lowest >= 0.0:
        if has_rescaling:
            return f"The model has a Rescaling layer of its own: pass {maker}bounds=(0, 255))."
        return (
            f"Divide 8-bit pixels by 255, or pass {maker}bounds=(0, 255)) for a model that takes them as "
            "they are."
        )
    found = (float(np.floor(lowest)), float(np.ceil(highest)))
    if found[0] == found[1]:
        found = (found[0], found[0] + 1.0)
    return f"Pass {maker}bounds={found}), or bounds=None to lift the check."


def check_labels(labels: Any, num_images: int, num_classes: int, argument: str = "labels") -> Array:
    """Returns (n,) int64 class indices.

    Raises:
        TypeError: not integers.
        ValueError: another length, or an index that is no class.
    """
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise TypeError(message(argument, "be an array of integers", "rows of several lengths")) from error
    if array.dtype.kind not in "iu":
        remedy = "Class indices, not one-hot rows: labels.argmax(axis=-1)." if array.ndim == 2 else ""
        raise TypeError(message(argument, "be integers", f"dtype {array.dtype}", remedy))
    if array.shape != (num_images,):
        remedy = "Class indices, not one-hot rows: labels.argmax(axis=-1)." if array.ndim == 2 else ""
        if array.shape == (num_images, 1):
            remedy = "Drop the last axis: labels[:, 0]."
        raise ValueError(message(argument, f"have the shape ({num_images},)", array.shape, remedy))
    if array.size and (array.min() < 0 or array.max() >= num_classes):
        raise ValueError(
            message(argument, f"be in [0, {num_classes - 1}]", f"values in [{array.min()}, {array.max()}]")
        )
    return array.astype(np.int64)
