"""A model that a layer holds, in the layer's configuration."""

from __future__ import annotations

from typing import Any

import keras


def held_model_config(model: keras.Model) -> dict[str, Any]:
    """Returns what `keras.saving.deserialize_keras_object` reads, as the same object in all places of a file.

    Keras gives an object that a file mentions twice an id, which it writes to both mentions. The first one
    may be a copy by then, if it lies in a layer's configuration, and would become a model of its own.
    Mentioned twice here, it has its id from the start. Outside of a file there is no id.
    """
    keras.saving.serialize_keras_object(model)
    return keras.saving.serialize_keras_object(model)
