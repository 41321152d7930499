"""Writes the sample of MNIST that comes with the library, and its manifest.

The first 100 images of each class in TensorFlow Datasets' order of the test split, kept in that order,
with their positions in it. Running it again writes the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib

import numpy as np

from keras_fisher import artefacts, datasets

IMAGES_PER_CLASS = 100
DATASETS = pathlib.Path(__file__).resolve().parent.parent / "keras_fisher" / "datasets"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    parser.add_argument(
        "--output", type=pathlib.Path, default=DATASETS, help="folder to write to (default: the package's)"
    )
    arguments = parser.parse_args()

    images, labels = datasets.load("mnist", "test", data_dir=arguments.data_dir)
    sample = choose(images, labels)
    path = artefacts.write_atomically(
        arguments.output / "mnist_sample.npz",
        lambda temporary: np.savez_compressed(
            temporary, images=sample["images"], labels=sample["labels"], positions=sample["positions"]
        ),
    )
    artefacts.write_manifest(
        arguments.output / "mnist_sample.json",
        command="python scripts/package_mnist_sample.py",
        seed=None,
        files=[path],
        metrics={"images": len(sample["labels"]), "images_per_class": IMAGES_PER_CLASS},
        source="MNIST (LeCun, Cortes, Burges), split test of TensorFlow Datasets' mnist",
        arrays_sha256={name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in sample.items()},
    )
    print(f"written to {path} ({path.stat().st_size} bytes)")


def choose(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the arrays to store: images and labels in uint8, positions in int64."""
    firsts = [np.flatnonzero(labels == label)[:IMAGES_PER_CLASS] for label in range(10)]
    positions = np.sort(np.concatenate(firsts)).astype("<i8")
    return {
        "images": np.rint(images[positions] * 255).astype(np.uint8),
        "labels": labels[positions].astype(np.uint8),
        "positions": positions,
    }


if __name__ == "__main__":
    main()
