"""Table 1 on CIFAR-10: what the top eigenvector of an image costs, by the paper's five methods and by ours.

One image after the other, as in the paper; the methods and the clock are those of imagenet_table1.py, beside
the eigen-decomposition of G itself, which CIFAR-10's 3072 × 3072 numbers allow. Alias sampling draws a fifth
of the classes, two, as the paper does. To be run alone on the machine: it measures time.

Source: Zhao et al. 2019, Table 1 and section 3.2 ("approximately 1/5 number of the classes").
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _estimates as estimates
import _nets as nets
import _reproduction as common
import imagenet_table1
import numpy as np
import rich.progress
import scipy.linalg

import keras_fisher as kf

EIGEN_DECOMPOSITION = "eigen-decomposition"
NUM_DRAWS = 2


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"cifar10": 20}, {"cifar10": 3}, data=("cifar10",))
    parser.prog = "run_table1.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    classifier = nets.load_classifier(nets.NET_OF["cifar10"])
    images, labels = common.right_images(arguments, [classifier])
    table = imagenet_table1.Table1(NUM_DRAWS, arguments.seed)
    rows = []
    for index in rich.progress.track(range(len(images)), "Table 1"):
        photo = kf.datasets.Photo(f"{index}", images[index], int(labels[index]))
        row, _, factor = table.measured(classifier, photo)
        add_decomposition(row, factor)
        rows.append(row)
    methods = {name: summarise(rows, name) for name in rows[0]["methods"]}
    gradient = estimates.median(np.array([row["gradient_seconds"] for row in rows]))
    numbers = {"methods": methods, "gradient_seconds": gradient}
    common.write(arguments, "table1_cifar10", started, numbers, [nets.NET_OF["cifar10"]], draws=NUM_DRAWS)


def add_decomposition(row: dict[str, Any], factor: np.ndarray) -> None:
    """Adds the eigen-decomposition of G = FᵀF to a row."""
    started = time.perf_counter()
    matrix = factor.T @ factor
    size = len(matrix)
    values, _ = scipy.linalg.eigh(matrix, subset_by_index=[size - 1, size - 1])
    # F, which the other methods take too, comes first.
    seconds = time.perf_counter() - started + row["class_gradients_seconds"]
    value = float(values[0])
    row["methods"][EIGEN_DECOMPOSITION] = {
        "seconds": seconds,
        "passes": len(factor),
        "eigenvalue": value,
        "in_gradients": seconds / row["gradient_seconds"],
        "relative_error": abs(value / row["class_gradients_eigenvalue"] - 1.0),
    }


def summarise(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Returns seconds and gradients with intervals, passes and the error of λ₁ of one method."""
    found = [row["methods"][name] for row in rows]
    errors = [one["relative_error"] for one in found]
    return {
        "seconds": estimates.median(np.array([one["seconds"] for one in found])),
        "in_gradients": estimates.median(np.array([one["in_gradients"] for one in found])),
        "passes": float(np.mean([one["passes"] for one in found])),
        "median_relative_error": float(np.median(errors)),
        "worst_relative_error": float(np.max(errors)),
    }


if __name__ == "__main__":
    main()
