"""The activation that a Keras model ends in, and the model without it."""

from __future__ import annotations

from typing import Any

import keras

#: Layers that are an activation and nothing else.
_ACTIVATION_LAYERS = {
    keras.layers.Softmax: "softmax",
    keras.layers.ReLU: "relu",
    keras.layers.LeakyReLU: "leaky_relu",
    keras.layers.PReLU: "prelu",
    keras.layers.ELU: "elu",
}
#: Layers that pass a value through at inference, and that a final activation may hide behind.
_PASSIVE_LAYERS = (keras.layers.Dropout, keras.layers.Identity, keras.layers.ActivityRegularization)


def final_activation(model: keras.Model) -> str | None:
    """Returns the name of the activation that the model ends in: "linear" for none, None if unknown."""
    layer = _last_layer(model)
    if layer is None:
        return None
    if isinstance(layer, keras.Model):
        return final_activation(layer)
    if type(layer) in _ACTIVATION_LAYERS:
        return _ACTIVATION_LAYERS[type(layer)]
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "")
    # A function of the user's own may be anything, whatever its name.
    return name if getattr(keras.activations, name, None) is activation is not None else None


def without_final_activation(model: keras.Model) -> keras.Model:
    """Returns a model with the same weights (shared, not copied) that stops before its final activation.

    Args:
        model: Functional or Sequential, one input and one output, ending in an activation that
            `final_activation` has named.
    """
    layer = _last_layer(model)
    before = _input_of(model, layer)
    if isinstance(layer, keras.Model):
        outputs = without_final_activation(layer)(before)
    elif type(layer) in _ACTIVATION_LAYERS or isinstance(layer, keras.layers.Activation):
        outputs = before
    else:
        outputs = _LinearPart(layer)(before)
    return keras.Model(model.inputs, outputs, name=f"{model.name}_logits")


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


def _last_layer(model: keras.Model) -> Any:
    """Returns the layer that makes the output, or None for a subclassed model."""
    outputs = getattr(model, "outputs", None) or []
    history = getattr(outputs[0], "_keras_history", None) if len(outputs) == 1 else None
    layer = getattr(history, "operation", None)
    while isinstance(layer, _PASSIVE_LAYERS):
        layer = _input_of(model, layer)._keras_history.operation
    return layer


def _input_of(model: keras.Model, layer: Any) -> Any:
    """Returns the tensor that `layer` takes in this model, on the way to the output."""
    tensor = model.outputs[0]
    while True:
        history = tensor._keras_history
        (source,) = history.operation._inbound_nodes[history.node_index].input_tensors
        if history.operation is layer:
            return source
        tensor = source
