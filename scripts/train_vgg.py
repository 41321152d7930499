"""Trains VGG on CIFAR-10 and writes it with its manifest.

All 50,000 training images, shifted and mirrored at random, a fixed number of epochs, the last epoch kept: no
test image has a part in any choice, the test split is only measured at the end. The kernels are rounded to
float16 (bfloat16 with --precision mixed_bfloat16) before they are measured and written: the file is half as
large. An interrupted run goes on after its last whole epoch when started again with the same settings (the
order of the images then differs from an unbroken run).
"""

from __future__ import annotations

import argparse
import os

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
#: Pixels.
MAX_SHIFT = 4
#: Maps in the first block.
PAPER_WIDTH = 64


def main() -> None:
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(arguments.precision)

    images, labels = datasets.load("cifar10", "train", data_dir=arguments.data_dir)
    model = build(arguments)
    train(model, images, labels, arguments)
    net = _training.finished(model, lambda: build(arguments))
    kernels = _training.round_kernels(net, _training.KERNELS[arguments.precision])

    test_images, test_labels = datasets.load("cifar10", "test", data_dir=arguments.data_dir)
    _training.write(
        net,
        _training.evaluate(net, test_images, test_labels),
        command(arguments),
        arguments,
        width=arguments.width,
        batch_normalisation=not arguments.without_normalisation,
        kernels=kernels,
        data="CIFAR-10 through TensorFlow Datasets: all 50,000 images of split train, measured on split test",
    )


def parse_arguments() -> argparse.Namespace:
    parser = _training.argument_parser(__doc__, folder="vgg_cifar10", epochs=14)
    parser.add_argument(
        "--width",
        type=int,
        default=PAPER_WIDTH,
        help="maps in the first block, 64 in the paper (default: %(default)s)",
    )
    parser.add_argument(
        "--without-normalisation",
        action="store_true",
        help="no batch normalisation, as VGG has none",
    )
    _training.add_precision(parser)
    arguments = parser.parse_args()
    suffix = f"_width{arguments.width}" if arguments.width != PAPER_WIDTH else ""
    suffix += "_without_normalisation" if arguments.without_normalisation else ""
    arguments.output = arguments.output or _training.SAVED_MODELS / f"vgg_cifar10{suffix}"
    return arguments


def build(arguments: argparse.Namespace) -> keras.Model:
    """Returns the untrained net."""
    return models.vgg(width=arguments.width, batch_normalisation=not arguments.without_normalisation)


def command(arguments: argparse.Namespace) -> str:
    """Returns the command line that repeats the run."""
    text = "python scripts/train_vgg.py --epochs {epochs} --seed {seed} --width {width}"
    flags = " --without-normalisation" if arguments.without_normalisation else ""
    flags += f" --precision {arguments.precision}" if arguments.precision != "float32" else ""
    return text.format(**vars(arguments)) + flags


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace) -> None:
    """Fits `model` in place: SGD with Nesterov momentum, a linear warm-up, then cosine decay to zero."""
    epochs, seed = arguments.epochs, arguments.seed
    batches = _training.augmented_batches(images, labels, BATCH_SIZE, augment, seed)
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
    _training.fit(model, batches, epochs, run=_training.run_name(command(arguments)))


def augment(images: tf.Tensor, seed: tuple) -> tf.Tensor:
    """Returns images (batch, 32, 32, 3) shifted, and every other one mirrored."""
    flip_seed, shift_seed = tf.unstack(tf.random.split(tf.cast(tf.stack(seed), tf.int64)))
    is_mirrored = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), flip_seed) < 0.5
    images = tf.where(is_mirrored, tf.reverse(images, axis=[2]), images)
    return _training.shift(images, MAX_SHIFT, shift_seed)


if __name__ == "__main__":
    main()
