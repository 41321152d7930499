"""Small nets of several kinds, with seeded random weights and confident answers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from keras_fisher.checks import check_option, suggests_keywords

#: Whatever keras.config.image_data_format() is.
LAST = {"data_format": "channels_last"}
KINDS = ("depthwise", "attention", "softmax", "dense")


@suggests_keywords
def small_net(
    kind: str, *, num_classes: int = 10, image_shape: tuple[int, int, int] = (28, 28, 1), seed: int = 0
) -> keras.Model:
    """Returns an untrained classifier of images in [0, 1] that is as sure as a trained one: logits of ±8.

    Args:
        kind: "depthwise" (BatchNorm with moving statistics of its own, depthwise and pointwise convolutions),
            "attention" (GELU, layer normalisation, self-attention over patches), "softmax" (convolutions and
            ReLU, ending in softmax), or "dense" (one linear layer: a softmax regression).
        num_classes: C.
        image_shape: (h, w, c).
        seed: of all weights.
    """
    check_option("kind", kind, KINDS)
    generator = np.random.default_rng(seed)
    inputs = keras.Input(image_shape)
    features = {
        "depthwise": _depthwise,
        "attention": _attention,
        "softmax": _convolutions,
        "dense": _flatten,
    }[kind](inputs)
    activation = "softmax" if kind == "softmax" else None
    model = keras.Model(inputs, layers.Dense(num_classes, activation=activation)(features), name=kind)
    model.set_weights([_weight(variable, generator) for variable in model.weights])
    # Scale the last layer so that the logits spread over ±8, as a trained net's do.
    last = model.layers[-1]
    images = generator.uniform(size=(64, *image_shape)).astype(np.float32)
    before = keras.Model(inputs, features).predict(images, verbose=0)
    kernel, bias = last.get_weights()
    logits = before @ kernel + bias
    kernel = kernel * (4.0 / logits.std(axis=0, keepdims=True))
    last.set_weights([kernel, -(before @ kernel).mean(axis=0) + 4.0 * generator.standard_normal(num_classes)])
    return model


def _weight(variable: keras.Variable, generator: np.random.Generator) -> np.ndarray:
    """Returns a random value: He-scaled kernels, and normalisation layers that do something."""
    shape = tuple(variable.shape)
    noise = generator.standard_normal(shape)
    name = variable.path.rsplit("/", 1)[-1]
    if name in {"gamma", "moving_variance"}:
        return 1.0 + 0.2 * np.abs(noise)
    if len(shape) < 2:
        return 0.1 * noise
    return noise * np.sqrt(2.0 / np.prod(shape[:-1]))


def _depthwise(inputs: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, **LAST)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, **LAST)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False, **LAST)(x)))
    return layers.Flatten(**LAST)(layers.AveragePooling2D(2, **LAST)(x))


def _attention(inputs: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(16, 7, strides=7, **LAST)(inputs)
    x = layers.Reshape((-1, 16))(x)
    normalized = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(normalized, normalized)])
    x = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Flatten(**LAST)(x)


def _convolutions(inputs: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(8, 3, strides=2, activation="relu", **LAST)(inputs)
    x = layers.Dropout(0.3)(layers.MaxPooling2D(2, **LAST)(x))
    return layers.Dense(32, activation="relu")(layers.Flatten(**LAST)(x))


def _flatten(inputs: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Flatten(**LAST)(inputs)
