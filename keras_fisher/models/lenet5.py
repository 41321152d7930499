"""LeNet-5, the small net of the paper's MNIST experiments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.models.activation import choose_activation
from keras_fisher.models.weights import Weights

_WEIGHTS = Weights(
    stored={
        "mnist": "lenet5_mnist",
        "mnist_elu": "lenet5_mnist_elu",
        "mnist_fgm": "lenet5_mnist_fgm",
        "mnist_ossa": "lenet5_mnist_ossa",
        "mnist_wide": "lenet5_mnist_wide",
    },
    script="scripts/train_lenet5.py or scripts/train_robust.py",
)


_MAPS = (6, 16)
_UNITS = (120, 84)


@suggests_keywords
def lenet5(
    weights: str | os.PathLike | None = None,
    *,
    activation: str | None = None,
    maps: tuple[int, int] | None = None,
    units: tuple[int, ...] | None = None,
) -> keras.Model:
    """Returns LeNet-5 with ReLU, max-pooling and dropout: images to ten logits, without a softmax.

    Args:
        weights: None for random weights; a name for weights that come with the library; or a `.keras` or
            `.weights.h5` file with weights of this net. `"mnist"` are those that `scripts/train_lenet5.py`
            trained; `"mnist_fgm"` and `"mnist_ossa"` those that `scripts/train_robust.py` trained
            adversarially, with ELU, and `"mnist_elu"` the same without an attack; `"mnist_wide"` those of the
            net of 20 and 50 maps and 500 units, which other libraries call LeNet.
        activation: `"relu"`, or `"elu"` as in the paper's robust nets; None for the stored net's own, and
            otherwise for `"relu"`.
        maps: the numbers of maps of the two convolutions; None for the stored net's own, and otherwise for
            (6, 16).
        units: the numbers of units of the dense layers before the logits; None for the stored net's own, and
            otherwise for (120, 84).

    Returns:
        A model of images (batch, 28, 28, 1) in [0, 1] to logits (batch, 10); of the default size it has
        61,706 parameters.

    Raises:
        TypeError: `weights` is neither None, nor a string, nor a path, or a number of maps or units is no
            integer.
        ValueError: `weights` has another suffix, or the file holds another net, or a stored file is not the
            one that was trained, or `activation` is neither of the two or not the stored net's, or `maps`
            are not two positive numbers, or `units` not some, or not the stored net's.
        FileNotFoundError: there is no such file.

    Source: LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document
    recognition", Figure 2. We differ as today's versions do: ReLU, max-pooling, every map of the second
    convolution sees all of the first, a dense last layer, dropout of 0.25.

    Example:
        >>> from keras_fisher import models
        >>> models.lenet5().output_shape
        (None, 10)
    """
    path = _WEIGHTS.path(weights)
    manifest = _WEIGHTS.manifest(weights)
    activation = choose_activation(activation, manifest)
    first, second = _checked_sizes("maps", maps, _MAPS, manifest)
    layers = keras.layers
    images = keras.Input((28, 28, 1), name="images")
    hidden = layers.Conv2D(
        first, 5, padding="same", activation=activation, data_format="channels_last", name="convolution_1"
    )(images)
    hidden = layers.MaxPooling2D(2, data_format="channels_last", name="pool_1")(hidden)
    hidden = layers.Conv2D(
        second, 5, padding="valid", activation=activation, data_format="channels_last", name="convolution_2"
    )(hidden)
    hidden = layers.MaxPooling2D(2, data_format="channels_last", name="pool_2")(hidden)
    hidden = layers.Flatten(data_format="channels_last", name="flatten")(hidden)
    for index, count in enumerate(_checked_sizes("units", units, _UNITS, manifest), start=1):
        hidden = layers.Dense(count, activation=activation, name=f"dense_{index}")(hidden)
        hidden = layers.Dropout(0.25, name=f"dropout_{index}")(hidden)
    logits = layers.Dense(10, name="logits")(hidden)
    model = keras.Model(images, logits, name="lenet5")
    if path is not None:
        _WEIGHTS.load(model, path, net="lenet5")
    return model


def _checked_sizes(
    name: str, sizes: Sequence[int] | None, default: tuple[int, ...], manifest: Mapping[str, Any]
) -> tuple[int, ...]:
    """Returns the sizes to build, which are the stored net's where stored weights are wanted."""
    stored = tuple(manifest.get(name, default))
    if sizes is None:
        return stored
    rule = f"be positive integers{', two of them' if name == 'maps' else ''}"
    if not isinstance(sizes, Sequence) or isinstance(sizes, str):
        raise TypeError(message(name, rule, repr(sizes)))
    sizes = tuple(check_integer(name, size, 1) for size in sizes)
    if not sizes or (name == "maps" and len(sizes) != len(default)):
        raise ValueError(message(name, rule, sizes))
    if manifest and sizes != stored:
        remedy = f"Train one by {_WEIGHTS.script} and pass the path of its file."
        raise ValueError(message(name, f"be None or {stored}, those of the stored net", sizes, remedy))
    return sizes
