"""Fits of a small net to four classes, and a model that keeps the images of its training step."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import keras_fisher as kf

EPSILON = 0.7
FAST_PGD = kf.attacks.PGD(0.5, steps=3)
#: The attack that is traced fastest, where it does not matter which.
FAST = kf.attacks.FGM()


def small_layers(activation: str | None = None) -> list[keras.layers.Layer]:
    return [
        keras.layers.Conv2D(3, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(4, activation=activation),
    ]


def small_net(*, seed: int = 0, activation: str | None = None) -> keras.Model:
    """A net of images (6, 6, 1) → 4 classes."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((6, 6, 1)), *small_layers(activation)])


def quadrants() -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightest quadrant is their class: 64 of them."""
    generator = np.random.default_rng(0)
    labels = np.arange(64) % 4
    images = generator.uniform(0.2, 0.5, size=(64, 6, 6, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = 3 * (label // 2), 3 * (label % 2)
        image[row : row + 3, column : column + 3] += 0.3
    return images.astype(np.float32), labels


def compiled(model: keras.Model, **settings) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        **({"optimizer": keras.optimizers.SGD(0.1), "loss": loss, "metrics": ["accuracy"]} | settings)
    )
    return model


def fit(model, data, *callbacks, epochs=1, **settings):
    options = {"batch_size": 16, "shuffle": False, "verbose": 0} | settings
    return model.fit(*data, epochs=epochs, callbacks=list(callbacks), **options)


class Recorder(keras.Model):
    """A model whose own training step keeps the images that it is given."""

    is_stopped = False

    def train_step(self, data):
        if self.is_stopped:
            raise KeyboardInterrupt
        self.seen.assign(keras.utils.unpack_x_y_sample_weight(data)[0])
        return super().train_step(data)


def recording_net() -> Recorder:
    """A compiled recorder of batches of 64 whose weights stay what they are."""
    inner = small_net()
    model = compiled(Recorder(inner.inputs, inner.outputs), optimizer=keras.optimizers.SGD(0.0))
    model.seen = tf.Variable(np.zeros((64, 6, 6, 1), np.float32))
    return model


def lengths(moved, images) -> np.ndarray:
    return np.linalg.norm((np.asarray(moved, np.float64) - images).reshape(len(images), -1), axis=-1)
