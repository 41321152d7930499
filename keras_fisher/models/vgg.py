"""VGG, the net of the paper's CIFAR-10 experiments."""

from __future__ import annotations

import os

import keras

from keras_fisher.checks import check_integer, message
from keras_fisher.models.weights import Weights

_WEIGHTS = Weights(stored="cifar10", folder="vgg_cifar10", script="scripts/train_vgg.py")
_PAPER_WIDTH = 64
_BLOCK_DROPOUT = 0.1
_DENSE_DROPOUT = 0.2


def vgg(weights: str | os.PathLike | None = None, *, width: int | None = None) -> keras.Model:
    """Returns VGG-16 without its last two blocks: images to ten logits, without a softmax.

    Three blocks of 2, 2 and 3 convolutions (3 × 3), with `width`, 2 · `width` and 4 · `width` maps, each
    convolution followed by batch normalisation and ReLU, each block by max-pooling and dropout; then a dense
    layer of 8 · `width` units with batch normalisation, ReLU and dropout, and the logits.

    Args:
        weights: None for random weights; `"cifar10"` for the weights that `scripts/train_vgg.py` trained
            and that come with the library; or a `.keras` or `.weights.h5` file with weights of this net.
        width: the number of maps in the first block. None for the stored net's own with
            `weights="cifar10"`, and otherwise for 64, the width of VGG-16.

    Returns:
        A model of images (batch, 32, 32, 3) in [0, 1] to logits (batch, 10). It moves the pixels to [-2, 2]
        itself, by a fixed layer: about mean 0 and standard deviation 1 on CIFAR-10.

    Raises:
        TypeError: `weights` is neither None, nor a string, nor a path, or `width` is no integer.
        ValueError: `weights` has another suffix, or the file holds another net, or one of another width, or
            the stored file of `"cifar10"` is not the one that was trained, or `width` is below 1.
        FileNotFoundError: there is no such file.

    Source: Simonyan and Zisserman, 2015, "Very deep convolutional networks for large-scale image
    recognition", Table 1, column D, conv1_1 to conv3_3. We differ as versions for CIFAR-10 do: batch
    normalisation, dropout after every block, one dense layer before the logits instead of two.

    Example:
        >>> from keras_fisher import models
        >>> models.vgg(width=8).output_shape
        (None, 10)
    """
    path = _WEIGHTS.path(weights)
    width = _checked_width(width, _WEIGHTS.manifest()["width"] if weights == _WEIGHTS.stored else None)
    layers = keras.layers
    images = keras.Input((32, 32, 3), name="images")
    hidden = layers.Rescaling(4.0, offset=-2.0, name="rescaling")(images)
    for block, num_convolutions in enumerate((2, 2, 3), start=1):
        for index in range(1, num_convolutions + 1):
            name = f"convolution_{block}_{index}"
            maps = width * 2 ** (block - 1)
            hidden = layers.Conv2D(maps, 3, padding="same", use_bias=False, name=name)(hidden)
            hidden = _normalised_relu(hidden, f"{block}_{index}")
        hidden = layers.MaxPooling2D(2, name=f"pool_{block}")(hidden)
        hidden = layers.Dropout(_BLOCK_DROPOUT, name=f"dropout_{block}")(hidden)
    hidden = layers.Flatten(name="flatten")(hidden)
    hidden = layers.Dense(8 * width, use_bias=False, name="dense")(hidden)
    hidden = _normalised_relu(hidden, "dense")
    hidden = layers.Dropout(_DENSE_DROPOUT, name="dropout_dense")(hidden)
    logits = layers.Dense(10, name="logits")(hidden)
    model = keras.Model(images, logits, name="vgg")
    if path is not None:
        _WEIGHTS.load(model, path, net=f"vgg of width {width}")
    return model


def _checked_width(width: int | None, stored: int | None) -> int:
    """Returns the width to build, which is `stored` where the stored weights are wanted."""
    if width is None:
        return _PAPER_WIDTH if stored is None else stored
    width = check_integer("width", width, 1)
    if stored is not None and width != stored:
        rule = f'be None or {stored}, the width of the stored net, with `weights="{_WEIGHTS.stored}"`'
        remedy = f"Train another width with {_WEIGHTS.script} --width {width} and pass the path of its file."
        raise ValueError(message("width", rule, width, remedy))
    return width


def _normalised_relu(hidden: keras.KerasTensor, name: str) -> keras.KerasTensor:
    hidden = keras.layers.BatchNormalization(name=f"normalisation_{name}")(hidden)
    return keras.layers.ReLU(name=f"relu_{name}")(hidden)
