"""Trains LeNet-5 on MNIST and writes it with its manifest.

All 60,000 training images, a fixed number of epochs, the last epoch kept: no test image has a part in any
choice, the test split is only measured at the end. An interrupted run goes on after its last whole epoch
when started again with the same settings (the order of the images then differs from an unbroken run).
"""

from __future__ import annotations

import _training
import keras
import numpy as np
import tensorflow as tf

from keras_fisher import datasets, models

BATCH_SIZE = 128
LEARNING_RATE = 2e-3
MAX_SHIFT = 2


def main() -> None:
    arguments = _training.argument_parser(__doc__, folder="lenet5_mnist[_seedSEED]", epochs=30).parse_args()
    suffix = f"_seed{arguments.seed}" if arguments.seed else ""
    arguments.output = arguments.output or _training.SAVED_MODELS / f"lenet5_mnist{suffix}"
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()

    images, labels = datasets.load("mnist", "train", data_dir=arguments.data_dir)
    model = models.lenet5()
    train(model, images, labels, arguments.epochs, arguments.seed)

    test_images, test_labels = datasets.load("mnist", "test", data_dir=arguments.data_dir)
    _training.write(
        model,
        models.lenet5(),
        _training.evaluate(model, test_images, test_labels),
        f"python scripts/train_lenet5.py --epochs {arguments.epochs} --seed {arguments.seed}",
        arguments,
        data="MNIST through TensorFlow Datasets: all 60,000 images of split train, measured on split test",
    )


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> None:
    """Fits `model` in place: Adam, one warm-up epoch, then cosine decay to zero."""
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
    _training.fit(model, batches, epochs, run=f"train_lenet5_epochs{epochs}_seed{seed}")


def augment(images: tf.Tensor, seed: tuple) -> tf.Tensor:
    """Returns images (batch, 28, 28, 1), shifted."""
    return _training.shift(images, MAX_SHIFT, seed)


if __name__ == "__main__":
    main()
