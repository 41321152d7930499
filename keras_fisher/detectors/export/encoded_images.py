"""PNG and JPEG files → images of a classifier, in a graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_fisher.classifiers.image_check import Bounds
from keras_fisher.typing import Tensor

#: The first bytes of the two kinds of file.
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
#: Up to here reach width and height in a PNG file.
_PNG_SIZE_END = 24


def decode_images(
    files: Tensor, image_shape: tuple[int, ...], bounds: Bounds | None, dtype: tf.DType = tf.float32
) -> Tensor:
    """Returns (batch, h, w, c), black at the lower bound and white at the upper.

    An image of another size is an error, not resized: what a resize does to an image is what the detector
    looks for. Colour becomes grey, and grey colour, where the classifier has the other.

    Args:
        files: (batch,) string, the bytes of PNG or JPEG files.
        image_shape: (h, w, c) of the classifier, c 1, 3 or 4.
        bounds: lowest and highest pixel; None is [0, 1].
        dtype: of the result.

    Raises:
        tf.errors.InvalidArgumentError: in the graph: bytes that are no PNG or JPEG file, or one that is cut
            off, or one of another size.
    """
    height, width, channels = image_shape
    lower, upper = bounds or (0.0, 1.0)
    # A table: TensorFlow divides by a constant by multiplying with its rounded reciprocal, and then an image
    # in a file is not quite that of its pixels.
    shades = np.clip(lower + (upper - lower) * (np.arange(256) / 255), lower, upper)
    table = tf.constant(shades, dtype)

    def decode(file: Tensor) -> Tensor:
        # TensorFlow reads further formats, some of them for colour only, and of a GIF the first frame.
        # One that ends before its size is refused here: `substr` would put its bytes into the error.
        is_png = _starts_with(file, _PNG) & (tf.strings.length(file) >= _PNG_SIZE_END)
        is_known = is_png | _starts_with(file, _JPEG)
        rule = "`image_bytes` must hold PNG or JPEG files."
        with tf.control_dependencies([tf.debugging.assert_equal(is_known, True, rule)]):
            size = tf.cond(is_png, lambda: _png_size(file), lambda: tf.image.extract_jpeg_shape(file)[:2])
        # Before it is decoded: a small file can hold an image that fills the memory.
        rule = f"`image_bytes` must hold images of {height} x {width} pixels."
        with tf.control_dependencies([tf.debugging.assert_equal(size, [height, width], rule)]):
            pixels = tf.io.decode_image(file, channels, expand_animations=False)
            return tf.gather(table, tf.cast(tf.reshape(pixels, image_shape), tf.int32))

    return tf.map_fn(decode, files, fn_output_signature=tf.TensorSpec(image_shape, dtype))


def _starts_with(file: Tensor, mark: bytes) -> Tensor:
    # Not by ==, which with NumPy's behaviour switched on knows no bytes.
    return tf.equal(tf.strings.substr(file, 0, len(mark)), tf.constant(mark))


def _png_size(file: Tensor) -> Tensor:
    """Returns [height, width] from the header of a PNG file: width at byte 16, height at 20, big-endian."""
    return tf.io.decode_raw(tf.strings.substr(file, _PNG_SIZE_END - 8, 8), tf.int32, little_endian=False)[
        ::-1
    ]
