"""Figure 3: log λ₁ against the least l2 norm that fools the net, of 800 test images.

The least norm of one step along the top eigenvector, by search in [0, 6]; and that of many small steps, each
along the eigenvector where it stands, which follows the boundary where one step cannot. Unclipped. On MNIST
for three LeNet-5 that differ in their seed, one with more maps and units, since much that goes by the name
LeNet has these, and one with ELU in place of ReLU: "similar phenomenon can be reproduced in a network with
smooth activations".

Source: Zhao et al. 2019, Figure 3 and section 3.3.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _estimates as estimates
import _nets as nets
import _parts as parts
import _reproduction as common
import numpy as np

import keras_fisher as kf

NETS = {
    "mnist": ("LeNet", "LeNet, seed 1", "LeNet, seed 2", "LeNet, wide", "LeNet, ELU"),
    "cifar10": ("VGG, CIFAR-10",),
}
MOST_ITERATIONS = 200


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"mnist": 800, "cifar10": 800}, {"mnist": 100, "cifar10": 20})
    parser.prog = "run_figure3.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    data = arguments.data
    numbers, points = {}, {}
    for name in NETS[data]:
        arrays = measure(arguments, name)
        numbers[name] = correlate(arrays)
        points |= {f"{name}/{field}": array.astype(np.float32) for field, array in arrays.items()}
    common.write_arrays(arguments, f"figure3_{data}", **points)
    common.write(
        arguments,
        f"figure3_{data}",
        started,
        numbers,
        NETS[data],
        search=parts.LEAST_NORM,
        step_size=common.STEP_SIZE[data],
        iterations=MOST_ITERATIONS,
    )


def measure(arguments: Any, name: str) -> parts.Arrays:
    """Returns log10 λ₁, and both least norms; NaN where the attack did not fool the net."""
    classifier = nets.load_classifier(name)
    images, labels = common.right_images(arguments, [classifier])
    many_steps = kf.attacks.IterativeOSSA(
        common.NO_BALL,
        clip=False,
        step_size=common.STEP_SIZE[arguments.data],
        steps=MOST_ITERATIONS,
    )

    def iterate(images: np.ndarray, labels: np.ndarray) -> parts.Arrays:
        found = many_steps(classifier, images, labels)
        return {"norms": found.norms, "success": found.success}

    first = parts.first_eigenvalues(classifier, images)
    one = parts.least_norms(kf.attacks.OSSA(clip=False, seed=arguments.seed), classifier, images, labels)
    many = parts.in_parts("iterative OSSA", classifier, images, labels, iterate, many_steps)
    return {
        "log10_eigenvalue": parts.log10(first),
        "one_step": np.where(one["success"], one["norms"], np.nan),
        "iterative": np.where(many["success"], many["norms"], np.nan),
    }


def correlate(arrays: parts.Arrays) -> dict[str, Any]:
    """Returns correlations of the images that were fooled, and of ranks with the others at infinity."""
    report: dict[str, Any] = {"n": len(arrays["log10_eigenvalue"])}
    for kind in ("one_step", "iterative"):
        norms, fooled = arrays[kind], np.isfinite(arrays[kind])
        report[kind] = {
            "fooled": estimates.share(fooled),
            "norm": estimates.mean(norms[fooled]),
            "spearman": estimates.spearman(arrays["log10_eigenvalue"][fooled], norms[fooled]),
            "pearson": estimates.pearson(arrays["log10_eigenvalue"][fooled], norms[fooled]),
            # Ranks only: any number above all others will do.
            "spearman_of_all": estimates.spearman(arrays["log10_eigenvalue"], np.where(fooled, norms, 1e9)),
        }
    return report


if __name__ == "__main__":
    main()
