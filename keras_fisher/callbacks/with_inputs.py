"""A model that knows its input."""

from __future__ import annotations

from typing import Any

import keras

from keras_fisher.checks import message


def with_inputs(model: Any) -> keras.Model:
    """Returns the model, or one around it that knows its input, for a subclassed model that is built."""
    if getattr(model, "inputs", None):
        return model
    shape = (model.get_build_config() or {}).get("input_shape") or [()]
    if not all(side is None or isinstance(side, int) for side in shape):
        rule = "take one tensor of images as its only input"
        raise ValueError(message("model", rule, f"a {type(model).__name__} built on {shape}"))
    inputs = keras.Input(shape[1:])
    return keras.Model(inputs, model(inputs))
