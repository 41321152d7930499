"""How the parameters z of a distribution are read from a Keras model: the activation that it ends in."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_option
from keras_fisher.classifiers.target import Target
from keras_fisher.typing import Tensor

#: How z is read:
#:   "as_is"      the model puts out z
#:   "stripped"   z is under its final activation
#:   "log"        it puts out probabilities p of classes, z = log p
#:   "logit"      it puts out probabilities p of labels, z = log p − log(1 − p)
#: and of a classifier with one output, whose second class has the logit 0:
#:   "pair", "stripped_pair", "logit_pair"   (0, z), z read as above
READINGS = ("as_is", "stripped", "log", "logit", "pair", "stripped_pair", "logit_pair")

#: Layers that are an activation and nothing else.
_ACTIVATION_LAYERS = {
    keras.layers.Softmax: "softmax",
    keras.layers.ReLU: "relu",
    keras.layers.LeakyReLU: "leaky_relu",
    keras.layers.PReLU: "prelu",
    keras.layers.ELU: "elu",
}
#: Functions of keras.ops that are called on the last tensor, by the name of their class.
_ACTIVATION_OPERATIONS = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "LogSoftmax": "log_softmax",
    "LogSigmoid": "log_sigmoid",
    "Relu": "relu",
    "Tanh": "tanh",
    "Softplus": "softplus",
}
#: Layers that pass a value through at inference, and that a final activation may hide behind.
_PASSIVE_LAYERS = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.AlphaDropout,
    keras.layers.Identity,
    keras.layers.ActivityRegularization,
)


class OutputFunction:
    """images → z (batch, outputs), in inference mode, at least float32.

    Args:
        model: images (batch, *image_shape) → z, or an activation of z; in a container of one tensor or by
            itself.
        reading: how z is read from it, one of `READINGS`.

    Raises:
        Exception: of any kind, where a model cannot be rewritten to stop before its activation.
    """

    def __init__(self, model: keras.Model, reading: str) -> None:
        self.reading = check_option("reading", reading, READINGS)
        self.model = without_output_activation(model) if reading.startswith("stripped") else model

    def __call__(self, images: Tensor) -> Tensor:
        outputs = call(self.model, images)
        if outputs.dtype in (tf.float16, tf.bfloat16) or not outputs.dtype.is_floating:
            outputs = tf.cast(outputs, tf.float32)
        if self.reading == "log":
            return tf.math.log(tf.maximum(outputs, np.finfo(outputs.dtype.as_numpy_dtype).tiny))
        if self.reading.startswith("logit"):
            tiny = np.finfo(outputs.dtype.as_numpy_dtype).tiny
            outputs = tf.math.log(tf.maximum(outputs, tiny)) - tf.math.log(tf.maximum(1 - outputs, tiny))
        if self.reading.endswith("pair"):
            return tf.concat([tf.zeros_like(outputs), outputs], axis=-1)
        return outputs


def call(model: keras.Model, images: Tensor) -> Tensor:
    """Returns the only output of a model in inference mode, flat: (batch, outputs)."""
    structure = getattr(model, "_inputs_struct", None)
    inputs = images
    if isinstance(structure, (dict, list, tuple)):
        inputs = keras.tree.pack_sequence_as(structure, [images])
    outputs = keras.tree.flatten(model(inputs, training=False))
    return tf.convert_to_tensor(outputs[0])


def target_of(model: keras.Model, reading: str, bounds: tuple[float, float] | None) -> Target:
    """Returns the target of a model that is not tried out, such as one without weights yet.

    Args:
        model: images → outputs.
        reading: how z is read, as a Network has found out.
        bounds: lowest and highest pixel; None takes any.
    """
    num_outputs = int(keras.tree.flatten(model.outputs)[0].shape[-1])
    num_classes = 2 if reading.endswith("pair") else num_outputs
    return Target(OutputFunction(model, reading), num_classes, bounds, precision_of(model))


def precision_of(model: keras.Model) -> float:
    """Returns the relative rounding error of a pass: some seventeen units in its last place."""
    dtypes = {str(getattr(layer, "compute_dtype", None)) for layer in model._flatten_layers()}
    units = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
    found = [units[dtype] for dtype in dtypes if dtype in units]
    inputs = {
        keras.backend.standardize_dtype(tensor.dtype) for tensor in keras.tree.flatten(model.inputs or [])
    }
    if inputs == {"float64"}:  # A layer of another dtype, such as a cast at the end, aside.
        found = [unit for unit in found if unit != units["float32"]]
    unit = max(found, default=units["float32"])
    return 1e-14 if unit == units["float64"] else 17 * unit


def output_activation_of(model: keras.Model) -> str | None:
    """Returns the name of the activation that the model ends in: "linear" for none, None if unknown."""
    operation = _last_operation(model)
    if operation is None:
        return None
    if isinstance(operation, keras.Model):
        return output_activation_of(operation)
    if type(operation) in _ACTIVATION_LAYERS:
        return _ACTIVATION_LAYERS[type(operation)] if _is_over_outputs(operation) else None
    if _is_function(operation):
        name = _ACTIVATION_OPERATIONS.get(type(operation).__name__)
        return name if _is_over_outputs(operation) else None
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", "")
    # A function of the user's own may be anything, whatever its name.
    is_keras = getattr(keras.activations, name, None) is activation is not None
    # Of a recurrent layer it is not the last thing that is done.
    is_last = not isinstance(operation, keras.layers.RNN) and not hasattr(operation, "recurrent_activation")
    return name if is_keras and is_last else None


def without_output_activation(model: keras.Model) -> keras.Model:
    """Returns a model with the same weights (shared, not copied) that stops before its final activation.

    Args:
        model: Functional or Sequential, one input and one output, ending in an activation that
            `output_activation_of` has named.

    Raises:
        Exception: of any kind, for a layer that cannot be made anew without its activation.
    """
    operation = _last_operation(model)
    before = _input_of(model, operation)
    if isinstance(operation, keras.Model):
        outputs = without_output_activation(operation)(before)
    elif (
        type(operation) in _ACTIVATION_LAYERS
        or isinstance(operation, keras.layers.Activation)
        or _is_function(operation)
    ):
        outputs = before
    else:
        outputs = _LinearPart(operation)(before)
    return keras.Model(model.inputs, outputs, name=f"{model.name}_logits")


def with_zero(model: keras.Model) -> keras.Model:
    """Returns the model of one unit, z, as one of two classes: (0, z)."""
    (unit,) = keras.tree.flatten(model.outputs)
    return keras.Model(model.inputs, WithZero(dtype=unit.dtype)(unit), name=f"{model.name}_pair")


class WithZero(keras.layers.Layer):
    """z (batch, 1) → (0, z): the logits of two classes."""

    def call(self, unit: Any) -> Any:
        return keras.ops.concatenate([keras.ops.zeros_like(unit), unit], axis=-1)


class _LinearPart(keras.layers.Layer):
    """A layer without its activation, on the variables of the original."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=f"{layer.name}_linear", dtype=layer.dtype_policy)
        config = {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_linear_twin"}
        self._original = layer
        self._twin = type(layer).from_config(config)

    def build(self, input_shape: Any) -> None:
        self._twin.trainable = self._original.trainable
        self._twin.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        # The twin computes on the original's variables as they are now: weights trained later count.
        outputs, _ = self._twin.stateless_call(
            self._original.trainable_variables,
            self._original.non_trainable_variables,
            inputs,
        )
        return outputs


def _last_operation(model: keras.Model) -> Any:
    """Returns the layer or function that makes the output, or None for a subclassed model."""
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    history = getattr(outputs[0], "_keras_history", None) if len(outputs) == 1 else None
    operation = getattr(history, "operation", None)
    while _is_passive(operation):
        operation = _input_of(model, operation)._keras_history.operation
    return operation


def _is_passive(operation: Any) -> bool:
    # The last layer of a net in mixed precision: Activation("linear", dtype="float32").
    is_linear = (
        isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear
    )
    return is_linear or isinstance(operation, _PASSIVE_LAYERS)


def _is_function(operation: Any) -> bool:
    """Whether it is a function of keras.ops, and no layer."""
    return not isinstance(operation, keras.layers.Layer) and type(operation).__module__.startswith("keras.")


def _is_over_outputs(operation: Any) -> bool:
    """Whether a softmax runs over the last axis of (batch, outputs)."""
    return getattr(operation, "axis", -1) in (-1, 1, [-1], (-1,))


def _input_of(model: keras.Model, operation: Any) -> Any:
    """Returns the tensor that `operation` takes in this model, on the way to the output."""
    (tensor,) = keras.tree.flatten(model.outputs)
    while True:
        history = tensor._keras_history
        (source,) = history.operation._inbound_nodes[history.node_index].input_tensors
        if history.operation is operation:
            return source
        tensor = source
