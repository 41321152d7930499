"""Forests of Yggdrasil Decision Forests in a Keras layer."""

from __future__ import annotations

import base64
import binascii
import tempfile
from typing import Any, Self

import keras
import tensorflow as tf

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.layers.probability_layer import ProbabilityLayer
from keras_fisher.layers.ydf_library import quiet, ydf_library
from keras_fisher.layers.ydf_model import num_ydf_features, read_ydf_model


@keras.saving.register_keras_serializable(package="keras_fisher")
class YdfEnsemble(ProbabilityLayer):
    """Returns what `predict` of a binary model of Yggdrasil Decision Forests returns, exactly.

    The model is part of the config, so that a `.keras` file holds it, and an asset of a SavedModel, which is
    read back after `import ydf_tf`. There is no gradient, and XLA has no such op. That op writes three lines
    to stderr as it loads a model, and has no setting for it.

    Args:
        model: base64 of `ydf_model.serialize()`.
        name: of the layer.

    Call arguments:
        features: (batch, f), any real dtype, which becomes float32: YDF knows no other.

    Returns:
        (batch, 2) float64, summing to one: 1 − p, and p as YDF has it in float32. NaN where a feature is NaN,
        which YDF by itself would take for the mean.

    Raises:
        ImportError: `ydf` or `ydf_tf` is not installed.
        TypeError: `model` is no string.
        ValueError: `model` cannot be read, or is no binary classifier of one column "features".

    Example:
        >>> import numpy as np, ydf
        >>> features = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
        >>> data = {"features": features, "label": (features[:, 0] > 0).astype(int)}
        >>> learner = ydf.RandomForestLearner(label="label", num_trees=10, winner_take_all=False)
        >>> with quiet(ydf):
        ...     model = learner.train(data)
        >>> layer = YdfEnsemble.from_ydf(model)
        >>> bool((layer(features)[:, 1].numpy() == model.predict(data)).all())
        True
    """

    # `predict` of a model with it then leaves XLA alone.
    supports_jit = False

    @suggests_keywords
    def __init__(self, model: str, *, name: str | None = None) -> None:
        ydf = ydf_library("YdfEnsemble", with_tensorflow=True)
        if not isinstance(model, str):
            rule = "be a string, base64 of ydf_model.serialize()"
            raise TypeError(message("model", rule, type(model).__name__, "See YdfEnsemble.from_ydf."))
        try:
            content = base64.b64decode(model, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(message("model", "be base64 of ydf_model.serialize()", repr(error))) from error
        read = read_ydf_model("YdfEnsemble", content)
        super().__init__(num_ydf_features(read), name=name)
        self.model = model
        # An export copies the files from here; without them it succeeds and cannot be loaded.
        self._folder = tempfile.TemporaryDirectory(prefix="keras_fisher_")
        # The resource belongs to no graph, even if Keras makes the layer while it traces one.
        with quiet(ydf), tf.init_scope():
            self._ensemble = read.to_tensorflow_function(temp_dir=self._folder.name)

    @classmethod
    def from_ydf(cls, model: Any, *, name: str | None = None) -> Self:
        """Returns the layer of a YDF model, which was trained to {"features": (n, f), label: 0 or 1}.

        Raises:
            ImportError: `ydf` or `ydf_tf` is not installed.
            TypeError: it is no YDF model.
            ValueError: it is no binary classifier of one column "features".
        """
        if not hasattr(model, "serialize"):
            raise TypeError(message("model", "be a model of ydf", repr(model)))
        return cls(base64.b64encode(model.serialize()).decode("ascii"), name=name)

    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        positive = tf.cast(self._ensemble({"features": tf.cast(features, tf.float32)}), tf.float64)
        return tf.stack([1 - positive, positive], axis=1)

    def get_config(self) -> dict[str, Any]:
        return {"model": self.model, "name": self.name}
