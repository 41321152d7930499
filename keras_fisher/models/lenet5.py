"""LeNet-5, the small net of the paper's MNIST experiments."""

from __future__ import annotations

import os

import keras

from keras_fisher.models.activation import choose_activation
from keras_fisher.models.weights import Weights

_WEIGHTS = Weights(
    stored={
        "mnist": "lenet5_mnist",
        "mnist_elu": "lenet5_mnist_elu",
        "mnist_fgm": "lenet5_mnist_fgm",
        "mnist_ossa": "lenet5_mnist_ossa",
    },
    script="scripts/train_lenet5.py or scripts/train_robust.py",
)


def lenet5(weights: str | os.PathLike | None = None, *, activation: str | None = None) -> keras.Model:
    """Returns LeNet-5 with ReLU, max-pooling and dropout: images to ten logits, without a softmax.

    Args:
        weights: None for random weights; a name for weights that come with the library; or a `.keras` or
            `.weights.h5` file with weights of this net. `"mnist"` are those that `scripts/train_lenet5.py`
            trained; `"mnist_fgm"` and `"mnist_ossa"` those that `scripts/train_robust.py` trained
            adversarially, with ELU, and `"mnist_elu"` the same without an attack.
        activation: `"relu"`, or `"elu"` as in the paper's robust nets; None for the stored net's own, and
            otherwise for `"relu"`.

    Returns:
        A model of images (batch, 28, 28, 1) in [0, 1] to logits (batch, 10), with 61,706 parameters.

    Raises:
        TypeError: `weights` is neither None, nor a string, nor a path.
        ValueError: `weights` has another suffix, or the file holds another net, or a stored file is not the
            one that was trained, or `activation` is neither of the two or not the stored net's.
        FileNotFoundError: there is no such file.

    Source: LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document
    recognition", Figure 2. We differ as today's versions do: ReLU, max-pooling, every map of the second
    convolution sees all six of the first, a dense last layer, dropout of 0.25.

    Example:
        >>> from keras_fisher import models
        >>> models.lenet5().output_shape
        (None, 10)
    """
    path = _WEIGHTS.path(weights)
    activation = choose_activation(activation, _WEIGHTS.manifest(weights))
    layers = keras.layers
    images = keras.Input((28, 28, 1), name="images")
    hidden = layers.Conv2D(6, 5, padding="same", activation=activation, name="convolution_1")(images)
    hidden = layers.MaxPooling2D(2, name="pool_1")(hidden)
    hidden = layers.Conv2D(16, 5, padding="valid", activation=activation, name="convolution_2")(hidden)
    hidden = layers.MaxPooling2D(2, name="pool_2")(hidden)
    hidden = layers.Flatten(name="flatten")(hidden)
    hidden = layers.Dense(120, activation=activation, name="dense_1")(hidden)
    hidden = layers.Dropout(0.25, name="dropout_1")(hidden)
    hidden = layers.Dense(84, activation=activation, name="dense_2")(hidden)
    hidden = layers.Dropout(0.25, name="dropout_2")(hidden)
    logits = layers.Dense(10, name="logits")(hidden)
    model = keras.Model(images, logits, name="lenet5")
    if path is not None:
        _WEIGHTS.load(model, path, net="lenet5")
    return model
