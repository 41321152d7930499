"""Figure 1: images that one step along the top eigenvector makes the net err on, with its answers.

Of each class the first test image, in the order of the seed, that the net answers right and OSSA fools in
[0, 6], at the least l2 norm that does, within [0, 1]. For photos of ImageNet see imagenet_figure1c.py.

Source: Zhao et al. 2019, Figure 1.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import _nets as nets
import _reproduction as common
import numpy as np

import keras_fisher as kf


def main(words: Sequence[str] | None = None) -> None:
    sizes = {"mnist": 100, "cifar10": 100}
    parser = common.add_options(__doc__, sizes, sizes)
    parser.prog = "run_figure1.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    classifier = nets.load_classifier(nets.NET_OF[arguments.data])
    images, labels = common.right_images(arguments, [classifier])
    attack = kf.attacks.OSSA(seed=arguments.seed)
    shown = []
    for label in np.unique(labels):
        for row in np.flatnonzero(labels == label):
            found = kf.attacks.least_perturbation(attack, classifier, images[[row]], labels[[row]])
            if found.success[0]:
                shown.append((row, found))
                break
    rows = [row for row, _ in shown]
    common.write_arrays(
        arguments,
        f"figure1_{arguments.data}",
        clean=np.rint(255 * images[rows]).astype(np.uint8),
        # Not rounded: rounding would take a least perturbation back over the boundary.
        adversarial=np.concatenate([found.images for _, found in shown]),
    )
    numbers = {
        "labels": labels[rows],
        "answers": [int(found.predictions[0]) for _, found in shown],
        "norms": [float(found.norms[0]) for _, found in shown],
    }
    common.write(arguments, f"figure1_{arguments.data}", started, numbers, [nets.NET_OF[arguments.data]])


if __name__ == "__main__":
    main()
