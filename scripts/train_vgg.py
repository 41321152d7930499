"""Trains VGG on CIFAR-10 or MNIST and writes it with its manifest.

All training images, shifted at random and those of CIFAR-10 mirrored, a fixed number of epochs, the last
epoch kept: no test image has a part in any choice, the test split is only measured at the end. The kernels
are rounded to float16 before they are measured and written: the file is half as large. An interrupted run
goes on after its last whole epoch when started again with the same settings (the order of the images then
differs from an unbroken run).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

# Read when TensorFlow is imported. Without it, convolutions take about twice as long on a CPU.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import _training
import keras
import numpy as np
import tensorflow as tf

from keras_fisher import datasets, models

BATCH_SIZE = 64
LEARNING_RATE = 0.05
MOMENTUM = 0.9
# Keras shrinks the weights beside the momentum, by learning rate times this: as 5e-4 inside the gradient.
WEIGHT_DECAY = 5e-3
WARMUP_EPOCHS = 2
#: Pixels, and whether an image and its mirror image show the same.
MAX_SHIFT = {"cifar10": 4, "mnist": 2}
IS_MIRRORED = {"cifar10": True, "mnist": False}


def main() -> None:
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()

    images, labels = datasets.load(arguments.data, "train", data_dir=arguments.data_dir)
    shape = images.shape[1:]
    model = models.vgg(width=arguments.width, image_shape=shape)
    train(model, images, labels, arguments)
    _training.round_kernels(model)

    test_images, test_labels = datasets.load(arguments.data, "test", data_dir=arguments.data_dir)
    metrics = _training.evaluate(model, test_images, test_labels)
    command = "python scripts/train_vgg.py --data {data} --epochs {epochs} --seed {seed} --width {width}"
    name = {"cifar10": "CIFAR-10", "mnist": "MNIST"}[arguments.data]
    _training.write(
        model,
        models.vgg(width=arguments.width, image_shape=shape),
        metrics,
        command.format(**vars(arguments)),
        arguments,
        width=arguments.width,
        image_shape=list(shape),
        kernels="rounded to float16",
        data=f"{name} through TensorFlow Datasets: all {len(images):,} images of split train, "
        "measured on split test",
    )


def parse_arguments() -> argparse.Namespace:
    parser = _training.argument_parser(__doc__, folder="vgg_DATA", epochs=14)
    parser.add_argument("--data", choices=tuple(MAX_SHIFT), default="cifar10", help="default: %(default)s")
    parser.add_argument(
        "--width",
        type=int,
        default=64,
        help="maps in the first block, 64 in the paper (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.output.name == "vgg_DATA":
        arguments.output = arguments.output.with_name(f"vgg_{arguments.data}")
    return arguments


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace) -> None:
    """Fits `model` in place: SGD with Nesterov momentum, a linear warm-up, then cosine decay to zero."""
    epochs, seed, width, data = arguments.epochs, arguments.seed, arguments.width, arguments.data
    batches = _training.augmented_batches(images, labels, BATCH_SIZE, augmentation(data), seed)
    steps = len(batches)
    warmup = min(WARMUP_EPOCHS, epochs)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(epochs - warmup, 1) * steps,
        warmup_target=LEARNING_RATE,
        warmup_steps=warmup * steps,
    )
    optimizer = keras.optimizers.SGD(schedule, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # XLA has its own convolutions, which are slower on a CPU.
        jit_compile=False,
    )
    _training.fit(model, batches, epochs, run=f"train_vgg_{data}_epochs{epochs}_seed{seed}_width{width}")


def augmentation(data: str) -> Callable[[tf.Tensor, tuple], tf.Tensor]:
    """Returns a function of images and a seed to the images shifted, and every other one mirrored."""

    def augment(images: tf.Tensor, seed: tuple) -> tf.Tensor:
        flip_seed, shift_seed = tf.unstack(tf.random.split(tf.cast(tf.stack(seed), tf.int64)))
        if IS_MIRRORED[data]:
            is_mirrored = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), flip_seed) < 0.5
            images = tf.where(is_mirrored, tf.reverse(images, axis=[2]), images)
        return _training.shift(images, MAX_SHIFT[data], shift_seed)

    return augment


if __name__ == "__main__":
    main()
