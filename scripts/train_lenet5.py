"""Trains LeNet-5, or the wider net of that name, on MNIST and writes it with its manifest.

All 60,000 training images, a fixed number of epochs, the last epoch kept: no test image has a part in any
choice, the test split is only measured at the end. An interrupted run goes on after its last whole epoch
when started again with the same settings (the order of the images then differs from an unbroken run).
"""

from __future__ import annotations

import argparse

import _training
import keras
import numpy as np
import tensorflow as tf

from keras_fisher import datasets, models

BATCH_SIZE = 128
LEARNING_RATE = 2e-3
MAX_SHIFT = 2
#: The net that Caffe and others call LeNet.
WIDE = {"maps": (20, 50), "units": (500,)}


def main() -> None:
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()

    images, labels = datasets.load("mnist", "train", data_dir=arguments.data_dir)
    model = build(arguments)
    train(model, images, labels, arguments)
    net = _training.finished(model, lambda: build(arguments))
    details = {}
    if arguments.wide:
        details = WIDE | {"kernels": _training.round_kernels(net)}

    test_images, test_labels = datasets.load("mnist", "test", data_dir=arguments.data_dir)
    _training.write(
        net,
        _training.evaluate(net, test_images, test_labels),
        command(arguments),
        arguments,
        data="MNIST through TensorFlow Datasets: all 60,000 images of split train, measured on split test",
        **details,
    )


def parse_arguments() -> argparse.Namespace:
    parser = _training.argument_parser(__doc__, folder="lenet5_mnist[_wide][_seedSEED]", epochs=30)
    maps, units = (" and ".join(map(str, WIDE[name])) for name in ("maps", "units"))
    parser.add_argument(
        "--wide", action="store_true", help=f"{maps} maps and {units} units, as other libraries' LeNet has"
    )
    arguments = parser.parse_args()
    suffix = "_wide" if arguments.wide else ""
    suffix += f"_seed{arguments.seed}" if arguments.seed else ""
    arguments.output = arguments.output or _training.SAVED_MODELS / f"lenet5_mnist{suffix}"
    return arguments


def build(arguments: argparse.Namespace) -> keras.Model:
    """Returns the untrained net."""
    return models.lenet5(**(WIDE if arguments.wide else {}))


def command(arguments: argparse.Namespace) -> str:
    """Returns the command line that repeats the run."""
    flag = " --wide" if arguments.wide else ""
    return f"python scripts/train_lenet5.py --epochs {arguments.epochs} --seed {arguments.seed}{flag}"


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace) -> None:
    """Fits `model` in place: Adam, one warm-up epoch, then cosine decay to zero."""
    epochs, seed = arguments.epochs, arguments.seed
    batches = _training.augmented_batches(images, labels, BATCH_SIZE, augment, seed)
    steps = len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(epochs - 1, 1) * steps, warmup_target=LEARNING_RATE, warmup_steps=steps
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    _training.fit(model, batches, epochs, run=_training.run_name(command(arguments)))


def augment(images: tf.Tensor, seed: tuple) -> tf.Tensor:
    """Returns images (batch, 28, 28, 1), shifted."""
    return _training.shift(images, MAX_SHIFT, seed)


if __name__ == "__main__":
    main()
