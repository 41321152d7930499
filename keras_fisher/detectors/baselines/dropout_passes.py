"""A model whose dropout stays on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier, Programs
from keras_fisher.typing import Array, Tensor

_DROPOUT_LAYERS = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
)


class DropoutPasses:
    """The logits of a classifier with dropout on, and all else in inference mode.

    One pass drops the same units of every image: an answer depends on seed and number of the pass, and not on
    the other images of the batch.

    Args:
        classifier: of a Functional or Sequential model, with a layer of the kinds Dropout, SpatialDropout,
            GaussianDropout or AlphaDropout, also in a model inside. Dropout inside other layers (attention,
            recurrent) stays off.

    Raises:
        ValueError: no such layer, or a model that does not show its logits.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._programs = Programs(self)
        if not _has_dropout(classifier.logits_model):
            remedy = "Score it by another detector, such as KernelDensityDetector."
            found = f"{classifier.model.name!r}, which has none"
            rule = "have a Dropout layer of a rate above 0, to be uncertain by"
            raise ValueError(message("model", rule, found, remedy))

    def logits(self, images: Array, seed: int, num_passes: int) -> Array:
        """Returns (num_passes, n, classes) logits.

        Args:
            images: (n, h, w, c), checked.
            seed: of all passes.
            num_passes: how many.
        """
        hidden = self._hidden(images)
        passes = [
            self._programs.run(_one_pass, hidden, tf.constant([seed, number], tf.int32))
            for number in range(num_passes)
        ]
        return np.stack([logits.numpy() for logits in passes])

    def _hidden(self, images: Array) -> Tensor:
        """Returns what the first dropout is given: all passes have it in common."""
        return self._programs.run(_before_dropout, images)

    def _traced_logits(self, hidden: Tensor, state: Tensor) -> Tensor:
        draws = _Draws(state)

        def with_dropout_on(layer: Any) -> Any:
            return _DropoutOn(layer, draws) if _is_dropout(layer) else layer

        with tf.init_scope():
            # Of the graph alone: a clone of a compiled model would be compiled, with its loss and optimiser.
            _, rest = _split_at_dropout(self.classifier.logits_model)
            model = keras.models.clone_model(rest, clone_function=with_dropout_on, recursive=True)
        logits = tf.convert_to_tensor(model(hidden, training=False))
        return tf.cast(logits, tf.float32) if logits.dtype in (tf.float16, tf.bfloat16) else logits


def _one_pass(passes: DropoutPasses, hidden: Tensor, state: Tensor) -> Tensor:
    return passes._traced_logits(hidden, state)


def _before_dropout(passes: DropoutPasses, images: Tensor) -> Tensor:
    with tf.init_scope():
        stem, _ = _split_at_dropout(passes.classifier.logits_model)
    return tf.convert_to_tensor(images if stem is None else stem(images, training=False))


class _Draws:
    """The random states of one pass: another for every use of a dropout layer."""

    def __init__(self, state: Tensor) -> None:
        self._state = state
        self._num_drawn = 0

    def draw(self) -> Tensor:
        """Returns the next state, (2,)."""
        self._num_drawn += 1
        return tf.random.experimental.stateless_fold_in(self._state, self._num_drawn)


class _DropoutOn(keras.layers.Layer):
    """A dropout layer that drops in inference, the same units of every image."""

    def __init__(self, layer: Any, draws: _Draws) -> None:
        super().__init__(name=f"{layer.name}_on", dtype=layer.dtype_policy)
        self._original = layer
        self._draws = draws
        self.built = True

    def compute_output_spec(self, inputs: Any) -> Any:
        # While the model is put together nothing is drawn.
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def call(self, inputs: Any) -> Any:
        # With what is drawn fixed, each of these layers is affine, unit by unit: found from two values.
        (generator,) = self._original.non_trainable_variables
        state = [tf.cast(self._draws.draw(), generator.dtype)]
        one = tf.ones_like(inputs[:1])
        shift, _ = self._original.stateless_call([], state, tf.zeros_like(one), training=True)
        sum_of_both, _ = self._original.stateless_call([], state, one, training=True)
        return shift + (sum_of_both - shift) * inputs


def _split_at_dropout(model: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Returns the model up to its first dropout, and from there on; None and all of it with branches."""
    for layer in model.layers:
        if _is_dropout(layer):
            try:
                tensor = layer.input
                stem, rest = keras.Model(model.inputs, tensor), keras.Model(tensor, model.outputs)
            # The rest takes something beside this tensor, or the layer has two uses.
            except (ValueError, AttributeError):
                break
            if not _has_dropout(stem):
                return stem, rest
            break
    return None, keras.Model(model.inputs, model.outputs)


def _is_dropout(layer: Any) -> bool:
    return isinstance(layer, _DROPOUT_LAYERS) and layer.rate > 0


def _has_dropout(model: keras.Model) -> bool:
    layers = model.layers
    return any(
        _is_dropout(layer) or (isinstance(layer, keras.Model) and _has_dropout(layer)) for layer in layers
    )
