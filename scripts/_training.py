"""What the scripts that train a net have in common: options, batches, a resumable fit, results."""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher import artefacts

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
SAVED_MODELS = REPOSITORY / "saved_models"
#: What stored kernels are rounded to, by the precision of training. A net that was trained in bfloat16 has
#: never seen the digits that are cut.
KERNELS = {"float32": tf.float16, "mixed_bfloat16": tf.bfloat16}


def argument_parser(description: str | None, folder: str, epochs: int) -> argparse.ArgumentParser:
    """Returns a parser of --epochs, --seed, --output and --data-dir.

    Args:
        description: of the script.
        folder: of saved_models/, for the help; without --output it is for the script to choose.
        epochs: the default.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # Less than one would replace a stored net by an untrained one.
    parser.add_argument(
        "--epochs", type=at_least(1), default=epochs, help="passes over the images (default: %(default)s)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help=f"folder to write to (default: saved_models/{folder})",
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """Returns the type of an option whose value is an integer from `least` on."""

    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        if value >= 2**31:
            raise argparse.ArgumentTypeError(f"must be at most {2**31 - 1}, got {text}")
        return value

    parse.__name__ = "int"
    return parse


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds --precision, of the layers while they are trained."""
    parser.add_argument(
        "--precision",
        choices=KERNELS,
        default="float32",
        help="of the layers in training; mixed_bfloat16 is about twice as fast where the processor has its "
        "products, and is stored with kernels rounded to bfloat16 (default: %(default)s)",
    )


def augmented_batches(
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    augment: Callable[[tf.Tensor, tuple], tf.Tensor],
    seed: int,
) -> tf.data.Dataset:
    """Returns one epoch's batches, in another order each epoch, with `augment(images, seeds)` on each."""
    return (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images), seed=seed)
        .batch(batch_size)
        .enumerate()
        .map(
            lambda index, batch: (augment(batch[0], (seed, index)), batch[1]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def shift(images: tf.Tensor, max_shift: int, seed: tuple) -> tf.Tensor:
    """Returns images (batch, n, n, channels), each moved by up to `max_shift` pixels in both directions."""
    size = images.shape[1]
    padded = tf.pad(images, [[0, 0], [max_shift, max_shift], [max_shift, max_shift], [0, 0]])
    offsets = tf.random.stateless_uniform((tf.shape(images)[0], 2), seed, 0, 2 * max_shift + 1, tf.int64)
    window = offsets[:, :, tf.newaxis] + tf.range(size, dtype=tf.int64)
    rows = tf.gather(padded, window[:, 0], axis=1, batch_dims=1)
    return tf.ensure_shape(tf.gather(rows, window[:, 1], axis=2, batch_dims=1), images.shape)


def fit(
    model: keras.Model,
    batches: tf.data.Dataset,
    epochs: int,
    run: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Fits the compiled `model` in place, going on after the last whole epoch kept in runs/`run`."""
    resume = keras.callbacks.BackupAndRestore(str(REPOSITORY / "runs" / run))
    model.fit(batches, epochs=epochs, shuffle=False, verbose=2, callbacks=[*callbacks, resume])


def run_name(command: str) -> str:
    """Returns the folder of runs/ for what a command line trains."""
    words = command.removeprefix("python scripts/").replace(".py", "").replace(" --", "_")
    return words.replace(" ", "")


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


def finished(model: keras.Model, build: Callable[[], keras.Model]) -> keras.Model:
    """Returns the trained net as it is measured and stored: in float32, and without an optimizer."""
    keras.config.set_dtype_policy("float32")
    net = build()
    net.set_weights(model.get_weights())
    return net


def round_kernels(model: keras.Model, dtype: tf.DType = tf.float16) -> str:
    """Rounds the matrices and kernels of `model` to values that `dtype` has, in place; says so.

    They stay float32 variables, so that the file needs no code of ours to be read; their last bits are zero
    (13 for float16, 16 for bfloat16), and `write` compresses them away. Biases and statistics, which take no
    room, keep their digits.
    """
    for variable in model.weights:
        if len(variable.shape) > 1:
            variable.assign(tf.cast(tf.cast(variable, dtype), variable.dtype))
    return f"rounded to {dtype.name}"


def write(
    model: keras.Model,
    metrics: dict[str, float],
    command: str,
    arguments: argparse.Namespace,
    **details: Any,
) -> None:
    """Writes a net that is `finished`, and its manifest."""
    path = artefacts.write_atomically(
        arguments.output / "model.keras", lambda path: save_compressed(model, path)
    )
    artefacts.write_manifest(
        arguments.output / "manifest.json",
        command=command,
        seed=arguments.seed,
        files=[path],
        metrics=metrics,
        **details,
    )
    print(f"test accuracy {metrics['test_accuracy']:.4f}, cross-entropy {metrics['test_cross_entropy']:.5f}")
    print(f"written to {arguments.output}")


def save_compressed(model: keras.Model, path: pathlib.Path) -> None:
    """Writes a `.keras` file whose members are deflated; Keras writes the same archive uncompressed."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        plain = pathlib.Path(folder) / "model.keras"
        model.save(plain)
        with (
            zipfile.ZipFile(plain) as source,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target,
        ):
            for name in source.namelist():
                target.writestr(name, source.read(name))
