"""Real data sets through TensorFlow Datasets, as arrays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_fisher.checks import check_option, message, suggests_keywords

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

NAMES = ("mnist", "fashion_mnist", "cifar10")


@suggests_keywords
def load(
    name: str, split: str, *, data_dir: str | os.PathLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and labels of a data set, in TensorFlow Datasets' fixed order.

    A data set that is not in `data_dir` yet is downloaded and prepared there first.

    Args:
        name: `"mnist"`, `"fashion_mnist"` or `"cifar10"`.
        split: a TensorFlow Datasets split, such as `"train"`, `"test"` or `"test[:1000]"`.
        data_dir: where TensorFlow Datasets keeps its data sets; None for its own default, `TFDS_DATA_DIR`
            or else `~/tensorflow_datasets`.

    Returns:
        images: (n, height, width, channels) float32, in [0, 1].
        labels: (n,) int64, in [0, 9].

    Raises:
        TypeError: `split` is no string.
        ValueError: `name` is none of these, or the data set has no such split, or nothing in it.
        FileNotFoundError: the data set is not prepared, and downloading it failed (without a network
            TensorFlow Datasets retries for some minutes first).
    """
    check_option("name", name, NAMES)
    rule = f"be a split of {name} with at least one image"
    remedy = 'For example "train", "test" or "test[:1000]".'
    if not isinstance(split, str):
        raise TypeError(message("split", "be a string", repr(split), remedy))
    import tensorflow_datasets as tfds  # noqa: PLC0415 (seconds that nothing else here needs)

    builder = tfds.builder(name, data_dir=data_dir)
    _prepare(builder, name)
    try:
        dataset = builder.as_dataset(split=split, shuffle_files=False, as_supervised=True)
    except (KeyError, ValueError) as error:
        raise ValueError(message("split", rule, repr(split), remedy)) from error
    batches = list(tfds.as_numpy(dataset.batch(1000)))
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)


def _prepare(builder: tfds.core.DatasetBuilder, name: str) -> None:
    """Downloads and prepares the data set unless that was done before."""
    if builder.is_prepared():
        return
    try:
        builder.download_and_prepare()
    # TensorFlow Datasets fails in many ways without a network: refused connections, checksums of error
    # pages, missing optional packages.
    except Exception as error:
        rule = "be a data set that is prepared, or that can be downloaded"
        value = f"{name!r}, not prepared in {builder.data_dir}, and the download failed ({error})"
        remedy = (
            "Call this once with a network, or point `data_dir` or the environment variable TFDS_DATA_DIR "
            "at a folder where TensorFlow Datasets has prepared it."
        )
        raise FileNotFoundError(message("name", rule, value, remedy)) from error
