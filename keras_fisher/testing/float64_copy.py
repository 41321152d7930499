"""Copies of a model: in double precision, and with other logits."""

from __future__ import annotations

import keras


def float64_copy(model: keras.Model) -> keras.Model:
    """Returns a copy that computes in float64, with the same weights, and returns logits.

    Args:
        model: Functional or Sequential; a softmax in its last layer is left out.
    """
    last = model.layers[-1]

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        # An operation such as keras.ops.flip has no dtype of its own.
        if isinstance(layer, keras.layers.Layer):
            config["dtype"] = "float64"
        if layer is last and config.get("activation") == "softmax":
            config["activation"] = "linear"
        return type(layer).from_config(config)

    inputs = keras.Input(model.input_shape[1:], dtype="float64")
    copy = keras.models.clone_model(model, input_tensors=inputs, clone_function=clone)
    copy.set_weights([weight.astype("float64") for weight in model.get_weights()])
    return copy


def scaled_logits(model: keras.Model, factor: float) -> keras.Model:
    """Returns a copy of a model that ends in a Dense layer, with its logits multiplied by `factor`."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.layers[-1].set_weights([factor * weight for weight in copy.layers[-1].get_weights()])
    return copy
