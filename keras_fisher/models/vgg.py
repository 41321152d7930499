"""VGG, the net of the paper's CIFAR-10 experiments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras

from keras_fisher.checks import check_flag, check_integer, check_option, message, suggests_keywords
from keras_fisher.models.activation import choose_activation
from keras_fisher.models.weights import Weights

_WEIGHTS = Weights(
    stored={
        "cifar10": "vgg_cifar10",
        "cifar10_narrow": "vgg_cifar10_narrow",
        "mnist": "vgg_mnist_relu",
        "mnist_fgm": "vgg_mnist_fgm",
        "mnist_ossa": "vgg_mnist_ossa",
    },
    script="scripts/train_vgg.py or scripts/train_robust.py",
)
_IMAGE_SHAPES = ((32, 32, 3), (28, 28, 1))
_PAPER_WIDTH = 64
_BLOCK_DROPOUT = 0.1
_DENSE_DROPOUT = 0.2


@suggests_keywords
def vgg(
    weights: str | os.PathLike | None = None,
    *,
    width: int | None = None,
    activation: str | None = None,
    image_shape: tuple[int, int, int] | None = None,
    batch_normalisation: bool | None = None,
) -> keras.Model:
    """Returns VGG-16 without its last two blocks: images to ten logits, without a softmax.

    Three blocks of 2, 2 and 3 convolutions (3 × 3), with `width`, 2 · `width` and 4 · `width` maps, each
    convolution followed by batch normalisation and ReLU, each block by max-pooling and dropout; then a dense
    layer of 8 · `width` units with batch normalisation, ReLU and dropout, and the logits.

    Args:
        weights: None for random weights; a name for weights that come with the library; or a `.keras` or
            `.weights.h5` file with weights of this net. `"cifar10"` are those that `scripts/train_vgg.py`
            trained, of width 64, `"cifar10_narrow"` those of a quicker net of width 32; `"mnist"`,
            `"mnist_fgm"` and `"mnist_ossa"` those that `scripts/train_robust.py` trained on MNIST, the first
            with ReLU, the others adversarially with ELU, the last of width 16.
        width: the number of maps in the first block. None for the stored net's own, and otherwise for 64,
            the width of VGG-16.
        activation: `"relu"`, or `"elu"` as in the paper's robust nets; None for the stored net's own, and
            otherwise for `"relu"`.
        image_shape: (32, 32, 3), or (28, 28, 1) for MNIST; None for the stored net's own, and otherwise for
            the former.
        batch_normalisation: False for biases in its place, as VGG has it; None for the stored net's own, and
            otherwise for True.

    Returns:
        A model of images (batch, *image_shape) in [0, 1] to logits (batch, 10). It moves the pixels to
        [-2, 2] itself, by a fixed layer: about mean 0 and standard deviation 1 on CIFAR-10.

    Raises:
        TypeError: `weights` is neither None, nor a string, nor a path, or `width` is no integer, or
            `batch_normalisation` no bool.
        ValueError: `weights` has another suffix, or the file holds another net, or one of another width, or
            a stored file is not the one that was trained, or `width` is below 1, or `activation`,
            `image_shape` or `batch_normalisation` is none of these or not the stored net's.
        FileNotFoundError: there is no such file.

    Source: Simonyan and Zisserman, 2015, "Very deep convolutional networks for large-scale image
    recognition", Table 1, column D, conv1_1 to conv3_3. We differ as versions for CIFAR-10 do: batch
    normalisation (unless told otherwise), dropout after every block, one dense layer before the logits, not
    two.

    Example:
        >>> from keras_fisher import models
        >>> models.vgg(width=8).output_shape
        (None, 10)
    """
    path = _WEIGHTS.path(weights)
    manifest = _WEIGHTS.manifest(weights)
    width = _checked_width(width, weights, manifest.get("width"))
    activation = choose_activation(activation, manifest)
    is_normalised = _checked_normalisation(batch_normalisation, manifest)
    layers = keras.layers
    images = keras.Input(_checked_shape(image_shape, manifest), name="images")
    hidden = layers.Rescaling(4.0, offset=-2.0, name="rescaling")(images)
    for block, num_convolutions in enumerate((2, 2, 3), start=1):
        for index in range(1, num_convolutions + 1):
            name = f"convolution_{block}_{index}"
            maps = width * 2 ** (block - 1)
            hidden = layers.Conv2D(
                maps, 3, padding="same", use_bias=not is_normalised, data_format="channels_last", name=name
            )(hidden)
            hidden = _activated(hidden, activation, f"{block}_{index}", is_normalised)
        hidden = layers.MaxPooling2D(2, data_format="channels_last", name=f"pool_{block}")(hidden)
        hidden = layers.Dropout(_BLOCK_DROPOUT, name=f"dropout_{block}")(hidden)
    hidden = layers.Flatten(data_format="channels_last", name="flatten")(hidden)
    hidden = layers.Dense(8 * width, use_bias=not is_normalised, name="dense")(hidden)
    hidden = _activated(hidden, activation, "dense", is_normalised)
    hidden = layers.Dropout(_DENSE_DROPOUT, name="dropout_dense")(hidden)
    logits = layers.Dense(10, name="logits")(hidden)
    model = keras.Model(images, logits, name="vgg")
    if path is not None:
        _WEIGHTS.load(model, path, net=f"vgg of width {width}")
    return model


def _checked_width(width: int | None, weights: object, stored: int | None) -> int:
    """Returns the width to build, which is `stored` where the stored weights are wanted."""
    if width is None:
        return _PAPER_WIDTH if stored is None else stored
    width = check_integer("width", width, 1)
    if stored is not None and width != stored:
        rule = f'be None or {stored}, the width of the stored net, with `weights="{weights}"`'
        remedy = f"Train one with --width {width} by {_WEIGHTS.script} and pass the path of its file."
        raise ValueError(message("width", rule, width, remedy))
    return width


def _checked_shape(image_shape: Any, manifest: Mapping[str, Any]) -> tuple[int, int, int]:
    """Returns the shape to build, which is the stored net's where stored weights are wanted."""
    stored = tuple(manifest.get("image_shape", _IMAGE_SHAPES[0]))
    if image_shape is None:
        return stored
    shapes = (stored,) if manifest else _IMAGE_SHAPES
    return check_option("image_shape", tuple(image_shape), shapes)


def _checked_normalisation(batch_normalisation: bool | None, manifest: Mapping[str, Any]) -> bool:
    """Returns whether to normalise, as the stored net does where stored weights are wanted."""
    stored = manifest.get("batch_normalisation", True)
    if batch_normalisation is None:
        return stored
    check_flag("batch_normalisation", batch_normalisation)
    return check_option("batch_normalisation", batch_normalisation, (stored,) if manifest else (True, False))


def _activated(
    hidden: keras.KerasTensor, activation: str, name: str, is_normalised: bool
) -> keras.KerasTensor:
    if is_normalised:
        hidden = keras.layers.BatchNormalization(name=f"normalisation_{name}")(hidden)
    layer = {"relu": keras.layers.ReLU, "elu": keras.layers.ELU}[activation]
    return layer(name=f"{activation}_{name}")(hidden)
