"""Copies of a model: in double precision, and with other logits."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.typing import Array

#: Layers and operations behind which a softmax may stand.
_PASSIVE = {"Cast", "Dropout", "Flatten", "Identity", "Reshape"}


@suggests_keywords
def float64_copy(model: keras.Model) -> keras.Model:
    """Returns a copy that computes in float64, with the same weights, and returns logits.

    Args:
        model: Functional or Sequential, of the logits or their softmax. That is left out where it is the
            activation of the last layer, a layer, an operation, or the end of a model inside.

    Raises:
        ValueError: neither the copy nor its softmax gives what the model gives.
    """
    copy = _copy(model, is_end=True)
    shape = [side or 64 for side in model.input_shape[1:]]
    images = np.random.default_rng(0).uniform(size=(2, *shape))
    expected = np.asarray(model(images.astype("float32"), training=False), np.float64)
    found = copy(images, training=False).numpy()
    errors = [np.abs(found - expected).max(), np.abs(_softmax(found) - expected).max()]
    is_probability = (expected >= 0).all() and np.abs(expected.sum(axis=-1) - 1.0).max() < 1e-3
    error = errors[1] if is_probability else min(errors)
    if not error <= 0.05 * np.abs(expected).max():  # as far apart as half precision may be
        remedy = (
            "Build it in float64, of layers that keep to their dtype, with the softmax as its last layer."
        )
        raise ValueError(
            message("model", "be one that can be copied", f"a copy that is {error:.2g} off", remedy)
        )
    return copy


def check_logits(logits: Any) -> None:
    """Refuses logits (n, outputs) that are of no two classes, by a ValueError."""
    if logits.shape[-1] < 2:
        remedy = "One unit z is two classes with the logits (0, z): pass kf.Classifier(model).logits_model."
        raise ValueError(message("model", "return a logit for each class", "one unit", remedy))


def _copy(model: keras.Model, is_end: bool) -> keras.Model:
    steps: list[Any] = list(getattr(model, "operations", model.layers))
    last = next((step for step in reversed(steps) if not _is_passive(step)), None) if is_end else None

    def clone(step: Any) -> Any:
        if isinstance(step, keras.Model):
            return _copy(step, step is last)
        name = type(step).__name__
        config = step.get_config()
        # Of the operations of keras.ops only a cast has a dtype.
        if isinstance(step, keras.layers.Layer) or (name == "Cast" and "float" in config["dtype"]):
            config["dtype"] = "float64"
        if step is last and (name == "Softmax" or config.get("activation") == "softmax"):
            if name in ("Softmax", "Activation"):
                return _Unchanged(dtype="float64")
            config["activation"] = "linear"
        return type(step).from_config(config)

    inputs = keras.Input(model.input_shape[1:], dtype="float64")
    copy = keras.models.clone_model(model, input_tensors=inputs, clone_function=clone)
    copy.set_weights([weight.astype("float64") for weight in model.get_weights()])
    return copy


class _Unchanged(keras.layers.Layer):
    """Stands where a softmax was; a Softmax layer takes a mask."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs


def _is_passive(step: Any) -> bool:
    activation = getattr(step, "activation", None)
    is_linear = type(step).__name__ == "Activation" and activation is keras.activations.linear
    return is_linear or type(step).__name__ in _PASSIVE


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@suggests_keywords
def scaled_logits(model: keras.Model, factor: float) -> keras.Model:
    """Returns a copy of a model that ends in a Dense layer, with its logits multiplied by `factor`."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.layers[-1].set_weights([factor * weight for weight in copy.layers[-1].get_weights()])
    return copy
