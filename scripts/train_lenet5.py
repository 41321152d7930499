"""Trains LeNet-5 on MNIST and writes it with its manifest.

All 60,000 training images, a fixed number of epochs, the last epoch kept: no test image has a part in any
choice, the test split is only measured at the end. An interrupted run goes on after its last whole epoch
when started again with the same settings (the order of the images then differs from an unbroken run).
"""

from __future__ import annotations

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_fisher import artefacts, datasets, models

BATCH_SIZE = 128
LEARNING_RATE = 2e-3
MAX_SHIFT = 2
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()

    images, labels = datasets.load("mnist", "train", data_dir=arguments.data_dir)
    model = models.lenet5()
    train(model, images, labels, arguments.epochs, arguments.seed)

    test_images, test_labels = datasets.load("mnist", "test", data_dir=arguments.data_dir)
    metrics = evaluate(model, test_images, test_labels)
    write(model, metrics, arguments)
    print(f"test accuracy {metrics['test_accuracy']:.4f}, cross-entropy {metrics['test_cross_entropy']:.5f}")
    print(f"written to {arguments.output}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--epochs", type=int, default=30, help="passes over the images (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=REPOSITORY / "saved_models" / "lenet5_mnist",
        help="folder to write to (default: saved_models/lenet5_mnist)",
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    return parser.parse_args()


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> None:
    """Fits `model` in place: Adam, one warm-up epoch, then cosine decay to zero."""
    batches = (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images), seed=seed)
        .batch(BATCH_SIZE)
        .enumerate()
        .map(
            lambda index, batch: (shift(batch[0], (seed, index)), batch[1]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )
    steps = len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(epochs - 1, 1) * steps, warmup_target=LEARNING_RATE, warmup_steps=steps
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    backup = REPOSITORY / "runs" / f"train_lenet5_epochs{epochs}_seed{seed}"
    resume = keras.callbacks.BackupAndRestore(str(backup))
    model.fit(batches, epochs=epochs, shuffle=False, verbose=2, callbacks=[resume])


def shift(images: tf.Tensor, seed: tuple) -> tf.Tensor:
    """Returns images (batch, 28, 28, 1), each moved by up to `MAX_SHIFT` pixels in both directions."""
    padded = tf.pad(images, [[0, 0], [MAX_SHIFT, MAX_SHIFT], [MAX_SHIFT, MAX_SHIFT], [0, 0]])
    offsets = tf.random.stateless_uniform((tf.shape(images)[0], 2), seed, 0, 2 * MAX_SHIFT + 1, tf.int64)
    window = offsets[:, :, tf.newaxis] + tf.range(28, dtype=tf.int64)
    rows = tf.gather(padded, window[:, 0], axis=1, batch_dims=1)
    return tf.ensure_shape(tf.gather(rows, window[:, 1], axis=2, batch_dims=1), (None, 28, 28, 1))


def evaluate(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns accuracy and mean cross-entropy in nats, from logits in float64."""
    logits = tf.cast(model.predict(images, batch_size=500, verbose=0), tf.float64)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    probabilities = tf.nn.softmax(logits).numpy()
    return {
        "test_accuracy": float(np.mean(np.argmax(logits, axis=1) == labels)),
        "test_cross_entropy": float(np.mean(losses)),
        "test_median_one_minus_top_probability": float(np.median(1 - probabilities.max(axis=1))),
        "test_images": len(labels),
        "parameters": model.count_params(),
    }


def write(model: keras.Model, metrics: dict[str, float], arguments: argparse.Namespace) -> None:
    """Writes the weights without the optimizer's state, and their manifest."""
    trained = models.lenet5()
    trained.set_weights(model.get_weights())
    path = artefacts.write_atomically(arguments.output / "model.keras", trained.save)
    command = f"python scripts/train_lenet5.py --epochs {arguments.epochs} --seed {arguments.seed}"
    artefacts.write_manifest(
        arguments.output / "manifest.json",
        command=command,
        seed=arguments.seed,
        files=[path],
        metrics=metrics,
        data="MNIST through TensorFlow Datasets: all 60,000 images of split train, measured on split test",
    )


if __name__ == "__main__":
    main()
