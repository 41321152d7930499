"""Trains a net on MNIST adversarially, or by the same recipe without an attack; writes it with its manifest.

By `model.fit` and `kf.callbacks.OSSACallback`. The nets of the paper's section 4.2: LeNet-5 or VGG with ELU
in place of ReLU, trained on perturbed images. All 60,000 training images, a fixed number of epochs, the last
epoch kept. The defaults of epsilon and fraction were chosen after a look at the first 1,000 test images (see
README, "Adversarial training"); otherwise the test split is only measured at the end. VGG's kernels
are rounded to float16 (bfloat16 with --precision mixed_bfloat16) before they are measured and written: the
file is half as large. An interrupted run goes on after its last whole epoch when started again with the same
settings (the order of the images then differs from an unbroken run).
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

from keras_fisher import attacks, callbacks, datasets, models

BATCH_SIZE = 128
LEARNING_RATE = 2e-3
MAX_SHIFT = 2
#: Of epsilon: a net that is attacked at full strength from the start may not begin to learn.
WARMUP_EPOCHS = 2
ATTACKS = {
    "ossa": attacks.OSSA(),
    "fgm": attacks.FGM(),
    "pgd": attacks.PGD(steps=7),
}


def main() -> None:
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(arguments.precision)

    images, labels = datasets.load("mnist", "train", data_dir=arguments.data_dir)
    model = build(arguments)
    train(model, images, labels, arguments)
    net = _training.finished(model, lambda: build(arguments))
    details = {}
    if arguments.net == "vgg":
        kernels = _training.round_kernels(net, _training.KERNELS[arguments.precision])
        details = {"width": arguments.width, "image_shape": [28, 28, 1], "kernels": kernels}

    test_images, test_labels = datasets.load("mnist", "test", data_dir=arguments.data_dir)
    _training.write(
        net,
        _training.evaluate(net, test_images, test_labels),
        command(arguments),
        arguments,
        data="MNIST through TensorFlow Datasets: all 60,000 images of split train, measured on split test",
        activation=arguments.activation,
        **details,
    )


def parse_arguments() -> argparse.Namespace:
    parser = _training.argument_parser(__doc__, folder="NET_mnist_ATTACK", epochs=30)
    parser.add_argument("--net", choices=("lenet5", "vgg"), default="lenet5", help="default: %(default)s")
    parser.add_argument(
        "--attack",
        choices=(*ATTACKS, "none"),
        default="ossa",
        help="default: %(default)s; none: a standard net",
    )
    parser.add_argument("--epsilon", type=float, default=2.0, help="l2 norm (default: %(default)s)")
    parser.add_argument(
        "--fraction", type=float, default=0.5, help="of each batch that is perturbed (default: %(default)s)"
    )
    parser.add_argument("--activation", choices=("elu", "relu"), default="elu", help="default: %(default)s")
    parser.add_argument(
        "--width", type=int, default=64, help="of VGG, 64 in the paper (default: %(default)s)"
    )
    _training.add_precision(parser)
    arguments = parser.parse_args()
    suffix = arguments.activation if arguments.attack == "none" else arguments.attack
    arguments.output = arguments.output or _training.SAVED_MODELS / f"{arguments.net}_mnist_{suffix}"
    return arguments


def build(arguments: argparse.Namespace) -> keras.Model:
    if arguments.net == "lenet5":
        return models.lenet5(activation=arguments.activation)
    return models.vgg(width=arguments.width, activation=arguments.activation, image_shape=(28, 28, 1))


def command(arguments: argparse.Namespace) -> str:
    """Returns the command line that repeats the run."""
    names = ["net", "attack", "epochs", "seed", "activation"]
    names += ["width"] if arguments.net == "vgg" else []
    names += [] if arguments.attack == "none" else ["epsilon", "fraction"]
    names += [] if arguments.precision == "float32" else ["precision"]
    return " ".join(
        ["python scripts/train_robust.py", *(f"--{name} {getattr(arguments, name)}" for name in names)]
    )


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace) -> None:
    """Fits `model` in place: Adam, one warm-up epoch, then cosine decay to zero."""
    batches = _training.augmented_batches(images, labels, BATCH_SIZE, augment, arguments.seed)
    steps = len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(arguments.epochs - 1, 1) * steps,
        warmup_target=LEARNING_RATE,
        warmup_steps=steps,
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # XLA has its own convolutions, which are slower on a CPU.
        jit_compile=False,
    )
    robust = []
    if arguments.attack != "none":
        robust = [
            callbacks.OSSACallback(
                callbacks.Warmup(arguments.epsilon, WARMUP_EPOCHS, start=arguments.epsilon / 4),
                arguments.fraction,
                ATTACKS[arguments.attack],
                seed=arguments.seed,
            )
        ]
    run = _training.run_name(command(arguments))
    _training.fit(model, batches, arguments.epochs, run=run, callbacks=robust)


def augment(images: tf.Tensor, seed: tuple) -> tf.Tensor:
    """Returns images (batch, 28, 28, 1), shifted."""
    return _training.shift(images, MAX_SHIFT, seed)


if __name__ == "__main__":
    main()
