"""What the layers of a model make of an image on the way to its logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_fisher.checks import message
from keras_fisher.classifiers.classifier import Classifier
from keras_fisher.classifiers.programs import Programs
from keras_fisher.classifiers.reading import WithZero
from keras_fisher.typing import Array, Tensor

#: Layers that pass values through at inference, or put them in another order: nothing new to a distance.
_PASSIVE_LAYERS = (
    keras.layers.InputLayer,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    WithZero,
)


class Activations(NamedTuple):
    """What the layers of a model made of n images: tensors in a graph, arrays outside."""

    #: For each layer (n, f), at least float32.
    layers: list[Any]
    #: (n, classes)
    logits: Any


class HiddenLayers:
    """The layers between the images and the layer that makes the logits, in inference mode, in graph order.

    Layers that only pass on or rearrange values (Dropout, Flatten, …) are left out, and so is what no logit
    depends on. A model inside the model counts as one layer.

    Args:
        classifier: of a Functional or Sequential model.
        only_last: no layer but the last in that order: what the logits are made of (if of several, one).
        pooled: mean of each channel (the last axis) over all positions, as in global average pooling. Else
            outputs are flattened.

    Raises:
        ValueError: a model that does not show its logits or has no hidden layer to show.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.classifiers.hidden_layers import HiddenLayers
        >>> hidden = HiddenLayers(kf.Classifier(kf.models.lenet5(weights="mnist")))
        >>> hidden.names
        ('convolution_1', 'pool_1', 'convolution_2', 'pool_2', 'dense_1', 'dense_2')
        >>> images, _ = kf.datasets.mnist_sample()
        >>> hidden(images[:3]).layers[-1].shape
        (3, 84)
    """

    def __init__(self, classifier: Classifier, *, only_last: bool = False, pooled: bool = False) -> None:
        self.classifier = classifier
        self.only_last = only_last
        self.pooled = pooled
        model = classifier.logits_model
        tensors = _hidden_tensors(model)[-1 if only_last else 0 :]
        #: Of the layers, in graph order.
        self.names: tuple[str, ...] = tuple(tensor._keras_history.operation.name for tensor in tensors)
        self._model = keras.Model(model.inputs, [*tensors, *keras.tree.flatten(model.outputs)])
        #: Compiled for these layers.
        self.programs = Programs(self)

    def tensors(self, images: Tensor) -> Activations:
        """Returns what the layers make of a tensor of images, unchecked: what is differentiated."""
        *layers, logits = self._model(images, training=False)
        return Activations([self._as_rows(layer) for layer in layers], _at_least_float32(logits))

    def __call__(self, images: Array) -> Activations:
        """Returns what the layers make of checked images, as arrays.

        Args:
            images: (n, h, w, c), a batch of `classifier.batches`.
        """
        layers, logits = self.programs.run(_tensors, images)
        return Activations([layer.numpy() for layer in layers], logits.numpy())

    def _as_rows(self, layer: Tensor) -> Tensor:
        layer = _at_least_float32(tf.convert_to_tensor(layer))
        if self.pooled and layer.shape.rank > 2:
            return tf.reduce_mean(layer, axis=list(range(1, layer.shape.rank - 1)))
        return tf.reshape(layer, [tf.shape(layer)[0], -1])


def _tensors(hidden: HiddenLayers, images: Tensor) -> Activations:
    return hidden.tensors(images)


def _hidden_tensors(model: keras.Model) -> list[Any]:
    """Returns the outputs of the hidden layers, those that others are made of first."""
    remedy = "Build it of Keras layers, Functional or Sequential, and not of a model inside a model."
    tensor = (getattr(model, "outputs", None) or [None])[0]
    while tensor is not None and _is_passive(_node(tensor).operation):
        tensor = next(iter(_node(tensor).input_tensors), None)
    # What a model inside makes of images cannot be seen, and what comes before it is no hidden layer of it.
    is_opaque = tensor is None or isinstance(_node(tensor).operation, keras.Model)
    ancestors = [] if is_opaque else _ancestors(tensor)[:-1]
    hidden = [found for found in ancestors if not _is_passive(_node(found).operation) and _is_float(found)]
    if not hidden:
        rule = "have a layer between its images and the one that makes its logits"
        raise ValueError(message("model", rule, f"{model.name!r}, which shows none", remedy))
    return hidden


def _ancestors(tensor: Any) -> list[Any]:
    """Returns all that `tensor` is made of, and itself, in an order in which each follows its inputs."""
    ordered: dict[int, Any] = {}
    # Not recursive: deep nets have more layers than Python has frames.
    pending = [(tensor, False)]
    while pending:
        found, inputs_are_done = pending.pop()
        if id(found) in ordered:
            continue
        if inputs_are_done:
            ordered[id(found)] = found
            continue
        pending.append((found, True))
        pending.extend((source, False) for source in reversed(_node(found).input_tensors))
    return list(ordered.values())


def _node(tensor: Any) -> Any:
    """Returns the call of a layer that made `tensor`."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _is_passive(layer: Any) -> bool:
    # The last layer of a net in mixed precision: Activation("linear", dtype="float32").
    is_linear = isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear
    return is_linear or isinstance(layer, _PASSIVE_LAYERS)


def _is_float(tensor: Any) -> bool:
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor
