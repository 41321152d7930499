"""LeNet-5, the small net of the paper's MNIST experiments."""

from __future__ import annotations

import os
import pathlib

import keras

from keras_fisher.artefacts import check_manifest, saved_model_path
from keras_fisher.checks import message


def lenet5(weights: str | os.PathLike | None = None) -> keras.Model:
    """Returns LeNet-5 with ReLU, max-pooling and dropout: images to ten logits, without a softmax.

    Args:
        weights: None for random weights; `"mnist"` for the weights that `scripts/train_lenet5.py` trained
            and that come with the library; or a `.keras` or `.weights.h5` file with weights of this net.

    Returns:
        A model of images (batch, 28, 28, 1) in [0, 1] to logits (batch, 10), with 61,706 parameters.

    Raises:
        TypeError: `weights` is neither None, nor a string, nor a path.
        ValueError: `weights` has another suffix, or the file holds another net, or the stored file of
            `"mnist"` is not the one that was trained.
        FileNotFoundError: there is no such file.

    Source: LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document
    recognition", Figure 2. We differ as today's versions do: ReLU, max-pooling, every map of the second
    convolution sees all six of the first, a dense last layer, dropout of 0.25.

    Example:
        >>> from keras_fisher import models
        >>> models.lenet5().output_shape
        (None, 10)
    """
    path = _weights_path(weights)
    layers = keras.layers
    images = keras.Input((28, 28, 1), name="images")
    hidden = layers.Conv2D(6, 5, padding="same", activation="relu", name="convolution_1")(images)
    hidden = layers.MaxPooling2D(2, name="pool_1")(hidden)
    hidden = layers.Conv2D(16, 5, padding="valid", activation="relu", name="convolution_2")(hidden)
    hidden = layers.MaxPooling2D(2, name="pool_2")(hidden)
    hidden = layers.Flatten(name="flatten")(hidden)
    hidden = layers.Dense(120, activation="relu", name="dense_1")(hidden)
    hidden = layers.Dropout(0.25, name="dropout_1")(hidden)
    hidden = layers.Dense(84, activation="relu", name="dense_2")(hidden)
    hidden = layers.Dropout(0.25, name="dropout_2")(hidden)
    logits = layers.Dense(10, name="logits")(hidden)
    model = keras.Model(images, logits, name="lenet5")
    if path is not None:
        _load_weights(model, path)
    return model


def _weights_path(weights: str | os.PathLike | None) -> pathlib.Path | None:
    """Returns the file to read, known to exist, or None for random weights."""
    rule = 'be None, "mnist", or the path of a .keras or .weights.h5 file'
    if weights is None:
        return None
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(message("weights", rule, repr(weights)))
    if weights == "mnist":
        folder = saved_model_path("lenet5_mnist")
        check_manifest(folder / "manifest.json")
        return folder / "model.keras"
    path = pathlib.Path(weights)
    if not path.name.endswith((".keras", ".weights.h5")):
        raise ValueError(message("weights", rule, repr(str(weights))))
    if not path.is_file():
        remedy = "There is no such file. scripts/train_lenet5.py writes one."
        raise FileNotFoundError(message("weights", rule, repr(str(weights)), remedy))
    return path


def _load_weights(model: keras.Model, path: pathlib.Path) -> None:
    try:
        # Only the weights of a .keras file: an older Keras cannot read the configuration of a newer one.
        model.load_weights(path)
    # Keras raises ValueError for other layers or shapes, KeyError, OSError or BadZipFile for a broken file.
    except Exception as error:
        remedy = "Train one with scripts/train_lenet5.py, or pass None for random weights."
        raise ValueError(
            message("weights", "hold the weights of a lenet5", repr(str(path)), remedy)
        ) from error
