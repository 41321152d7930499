"""A Keras image classifier with its logits laid open."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from keras_fisher.checks import check_option, suggests_keywords
from keras_fisher.classifiers.model_files import as_keras_model
from keras_fisher.classifiers.network import Network, kept_network, outside_of_graphs
from keras_fisher.typing import Array, Images


class Classifier(Network):
    """A Keras model as a classifier: logits, log-probabilities, bounds; inference mode always.

    Args:
        model: keras.Model or path. Images (n, h, w, c) → (n, classes), logits or softmax probabilities; or
            the path of one: a `.keras` or `.h5` file, or the folder of a SavedModel with a serving signature.
            A model with one output, a sigmoid or its logit z, is one of two classes with the logits (0, z).
        from_logits: "auto" (default), True or False. "auto" finds a final softmax (`activation="softmax"` or
            a Softmax layer) and reads the logits under it, because log(softmax) is −inf where float32
            saturates. True: the outputs are logits. False: they are probabilities.
        bounds: (lowest, highest) pixel, default (0, 1); images outside are refused. None lifts that.

    Raises:
        TypeError: `model` is no keras.Model and no path.
        FileNotFoundError: there is no such file.
        ValueError: an output that is neither logits nor probabilities, a model that couples the images of a
            batch, is random in inference, returns NaN, or has no gradient in its images.

    Example:
        >>> import keras, numpy as np, keras_fisher as kf
        >>> layers = [
        ...     keras.Input((8, 8, 1)),
        ...     keras.layers.Flatten(),
        ...     keras.layers.Dense(3, activation="softmax"),
        ... ]
        >>> classifier = kf.Classifier(keras.Sequential(layers))
        >>> classifier.num_classes, classifier.logits(np.zeros((2, 8, 8, 1))).shape
        (3, (2, 3))
    """

    _maker = "kf.Classifier(model, "

    @suggests_keywords
    def __init__(
        self,
        model: keras.Model | str | os.PathLike,
        from_logits: bool | str = "auto",
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        check_option("from_logits", from_logits, ("auto", True, False))
        model = as_keras_model(model)
        self._arguments = (model, from_logits, bounds)
        self._told_logits = from_logits is True
        outside_of_graphs(self._set_up, model, "softmax", from_logits, bounds)

    @property
    def num_classes(self) -> int:
        """The number of classes C."""
        return self.num_outputs

    @suggests_keywords
    def logits(self, images: Images, batch_size: int | None = None) -> Array:
        """Returns (n, classes) logits, in the dtype of the model.

        Args:
            images: (n, h, w, c) within bounds, or a Dataset of batches of them.
            batch_size: images at once; None chooses by their size.

        Raises:
            TypeError, ValueError: not images of the classifier's shape and bounds, NaN or infinity.
        """
        chunks = [self.outputs_of(chunk).numpy() for chunk in self.batches(images, batch_size)]
        return np.concatenate(chunks) if chunks else np.zeros((0, self.num_classes), np.float32)

    @suggests_keywords
    def log_probabilities(self, images: Images, batch_size: int | None = None) -> Array:
        """Returns (n, classes) float64 log p, by log-softmax of the logits; raises as `logits` does."""
        logits = self.logits(images, batch_size).astype(np.float64)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    @suggests_keywords
    def predict(self, images: Images, batch_size: int | None = None) -> Array:
        """Returns (n,) int64, the most probable class of each image; raises as `logits` does."""
        return self.logits(images, batch_size).argmax(axis=-1)


def as_classifier(model: Any) -> Classifier:
    """Returns `model` as a Classifier, if it is not one: everything that takes the one takes the other.

    That of a keras.Model is made once and kept with the model.
    """
    return model if isinstance(model, Classifier) else as_kept(model)


def as_kept(model: Any) -> Any:
    """Returns the Classifier of a keras.Model, made once; of anything else, a new one."""
    return kept_network(model, "classifier", lambda: Classifier(model))
