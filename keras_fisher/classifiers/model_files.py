"""Models in files."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import keras
import tensorflow as tf

from keras_fisher.checks import message

#: Signatures of a SavedModel that are taken for the model, in this order: TensorFlow's name and Keras's.
_SIGNATURES = ("serving_default", "serve")


def as_keras_model(model: Any) -> keras.Model:
    """Returns a keras.Model as it is, and that of a path.

    Raises:
        TypeError: neither of them.
        FileNotFoundError, ValueError: as `read_model`.
    """
    if isinstance(model, (str, os.PathLike)):
        return read_model(model)
    if isinstance(model, keras.Model):
        return model
    kind = type(model)
    found, remedy = kind.__name__, ""
    if isinstance(model, keras.layers.Layer):
        remedy = "Wrap the layer: keras.Sequential([keras.Input(shape), layer])."
    elif any(base.__module__.startswith(("tf_keras", "tensorflow.python.keras")) for base in kind.__mro__):
        found = f"{kind.__name__} of Keras 2 (tf_keras)"
        remedy = "Build the model with Keras 3, or export it as a SavedModel and pass the folder."
    rule = "be a keras.Model, or the path of a .keras file or a SavedModel"
    raise TypeError(message("model", rule, found, remedy))


def read_model(path: str | os.PathLike) -> keras.Model:
    """Returns the model in a `.keras` file, or in the folder of a SavedModel.

    A SavedModel is taken as it is: images → its only output, by its serving signature. Whether it ends in a
    softmax does not show, so that its probabilities are taken with a warning.

    Raises:
        FileNotFoundError: there is none.
        ValueError: another kind of file, or a SavedModel without a signature from one tensor to one tensor.
    """
    found = pathlib.Path(path)
    rule = "be a keras.Model, a .keras file or the folder of a SavedModel"
    if not found.exists():
        raise FileNotFoundError(message("model", rule, repr(str(path)), "There is no such path."))
    if found.is_file() and found.suffix in {".keras", ".h5"}:
        try:
            return keras.saving.load_model(found, compile=False)
        # Keras raises ValueError, KeyError, OSError or BadZipFile for what it cannot read.
        except Exception as error:
            remedy = "Keras gives the reason above. Load it with keras.saving.load_model and pass the model."
            raise ValueError(
                message("model", f"be a {found.suffix} file that Keras can read", repr(str(path)), remedy)
            ) from error
    if not (found / "saved_model.pb").is_file():
        raise ValueError(message("model", rule, repr(str(path))))
    return _read_saved_model(found)


def _read_saved_model(folder: pathlib.Path) -> keras.Model:
    signatures: Any = tf.saved_model.load(str(folder)).signatures  # pyright: ignore[reportAttributeAccessIssue]
    name = next((name for name in _SIGNATURES if name in signatures), None)
    if name is None:
        found = f"{str(folder)!r} with {sorted(signatures) or 'none'}"
        raise ValueError(message("model", f"have one of the signatures {', '.join(_SIGNATURES)}", found))
    inputs = list(signatures[name].structured_input_signature[1].values())
    outputs = sorted(signatures[name].structured_outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        found = f"{len(inputs)} inputs and the outputs {outputs}"
        raise ValueError(message("model", f"map one tensor to one in its signature {name!r}", found))
    shape, dtype = inputs[0].shape, inputs[0].dtype
    if not dtype.is_floating:
        remedy = "Export the part of the model that takes images as floats."
        raise ValueError(message("model", "take images of floats", f"{dtype.name} in {name!r}", remedy))
    if shape.rank is None or shape.rank < 2 or shape[0] is not None:
        remedy = "Export it with a batch of any size: keras.Input(shape) without batch_size."
        found = f"the shape {shape} in {name!r}"
        raise ValueError(message("model", "take batches of any size", found, remedy))
    images = keras.Input(inputs[0].shape[1:], dtype=inputs[0].dtype.name, name="images")
    layer = keras.layers.TFSMLayer(str(folder), call_endpoint=name, trainable=False)
    answer = layer(images)
    return keras.Model(images, answer[outputs[0]] if isinstance(answer, dict) else answer)
