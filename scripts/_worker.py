"""One worker of train_workers.py, which starts it with a folder and its settings as JSON.

Its place among the workers is in TF_CONFIG, as `tf.distribute` has it. The first one writes the results.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import sys
import threading
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import _training
import keras
import numpy as np
import tensorflow as tf

import keras_fisher as kf

NUM_TEST_SAMPLES = 200
#: What the manifest holds elsewhere, or not.
NO_SETTINGS = {"command", "data", "data_dir", "seed"}


def main() -> None:
    folder, settings = pathlib.Path(sys.argv[1]), argparse.Namespace(**json.loads(sys.argv[2]))
    threading.Thread(target=end_with_parent, daemon=True).start()
    keras.config.set_floatx(settings.dtype)
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()
    # First of all: it waits for the other workers, and nothing of TensorFlow may run before.
    strategy = make_strategy(settings.workers)

    (images, labels), test = load(settings)
    with strategy.scope():
        net = build(settings.dropout)
    model = (WorkerModel if settings.workers > 1 else keras.Model)(net.input, net.output)
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    fit(model, strategy, images.astype(settings.dtype), labels, folder, settings, index)
    if index == 0:
        write(model, test, folder, settings)


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it is gone."""
    os.read(0, 1)
    os._exit(1)


def make_strategy(num_workers: int) -> tf.distribute.Strategy:
    if num_workers == 1:
        return tf.distribute.get_strategy()
    ring = tf.distribute.experimental.CommunicationImplementation.RING
    return tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(implementation=ring)
    )


def load(settings: argparse.Namespace) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns the images and labels to train on, and those to test on."""
    if settings.data == "sample":
        images, labels = kf.datasets.mnist_sample()
        train, test = slice(settings.images), slice(-NUM_TEST_SAMPLES, None)
        return (images[train], labels[train]), (images[test], labels[test])
    images, labels = kf.datasets.load("mnist", "train", data_dir=settings.data_dir)
    test_split = kf.datasets.load("mnist", "test", data_dir=settings.data_dir)
    return (images[: settings.images], labels[: settings.images]), test_split


def build(dropout: bool) -> keras.Model:
    """Returns LeNet-5, untrained, with or without its dropout."""
    net = kf.models.lenet5()
    if dropout:
        return net

    def clone(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.Dropout):
            return keras.layers.Identity(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    return keras.models.clone_model(net, clone_function=clone)


class WorkerModel(keras.Model):
    """A model that `fit` trains under `MultiWorkerMirroredStrategy` in spite of two faults of Keras 3.15.

    Keras takes the mean of each number in the logs over the workers along axis 0, which a scalar lacks: here
    they have shape (1,). And for a model that was made within the strategy's scope, it asks the strategy
    for the mean of a pair, images and labels, which is refused: make the layers within the scope, this
    model outside, and call `compile` and `fit` within.
    """

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        return vectors(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        return vectors(super().test_step(data))


def vectors(logs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns the logs, each of shape (1,)."""
    return {name: tf.reshape(value, (1,)) for name, value in logs.items()}


def fit(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    images: np.ndarray,
    labels: np.ndarray,
    folder: pathlib.Path,
    settings: argparse.Namespace,
    index: int,
) -> None:
    """Fits `model` in place, going on after the epoch whose backup lies in `folder`."""
    order = EpochOrder(len(images), settings.global_batch, settings.seed)
    callbacks = [
        order,
        kf.callbacks.OSSACallback(settings.epsilon, settings.fraction, seed=settings.seed),
        # Each worker keeps its own: saving makes variables, which within the strategy all make or none.
        keras.callbacks.BackupAndRestore(str(folder / "backups" / str(index)), delete_checkpoint=False),
    ]
    if index == 0:
        callbacks.append(KeepWholeEpoch(folder / "backups" / "0", folder / "epochs"))
    with strategy.scope():
        model.compile(
            optimizer=keras.optimizers.Adam(settings.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,
        )
        model.fit(
            order.batches(images, labels),
            epochs=settings.epochs,
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=callbacks,
        )


class EpochOrder(keras.callbacks.Callback):
    """The order of the images, from the seed and the number of the epoch: a run that goes on keeps to it."""

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        super().__init__()
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # `fit` makes the iterator of the epoch after this.
        self.epoch = epoch

    def batches(self, images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
        """Returns the whole batches of the epoch at hand, of which each worker is given its share."""
        steps = self.num_images // self.batch_size

        def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            rows = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_images)
            for batch in rows[: steps * self.batch_size].reshape(steps, self.batch_size):
                yield images[batch], labels[batch]

        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        signature = tuple(
            tf.TensorSpec((self.batch_size, *array.shape[1:]), array.dtype) for array in (images, labels)
        )
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        counted = dataset.apply(tf.data.experimental.assert_cardinality(steps))
        return counted.prefetch(tf.data.AUTOTUNE).with_options(options)


class KeepWholeEpoch(keras.callbacks.Callback):
    """Copies each backup, once it is written, to a folder of the epoch's number: one is whole at any time."""

    def __init__(self, backup: pathlib.Path, epochs: pathlib.Path) -> None:
        super().__init__()
        self.backup = backup
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs.mkdir(exist_ok=True)
        whole = self.epochs / f"{epoch + 1:05}"
        with kf.artefacts.temporary_sibling(whole) as temporary:
            shutil.copytree(self.backup, temporary)
            temporary.rename(whole)
        for older in self.epochs.glob("[0-9]*"):
            if older != whole:
                shutil.rmtree(older)


def write(
    model: keras.Model,
    test: tuple[np.ndarray, np.ndarray],
    folder: pathlib.Path,
    settings: argparse.Namespace,
) -> None:
    """Writes the net with its manifest."""
    # Outside of the strategy: what is called there waits for the other workers.
    net = build(settings.dropout)
    net.set_weights(model.get_weights())
    _training.write(
        net,
        _training.evaluate(net, *test),
        settings.command,
        argparse.Namespace(output=folder, seed=settings.seed),
        data="MNIST: the packaged sample" if settings.data == "sample" else "MNIST: split train, split test",
        settings={name: value for name, value in vars(settings).items() if name not in NO_SETTINGS},
    )


if __name__ == "__main__":
    main()
