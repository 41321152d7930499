"""Table 3: how OSSA's images of one net fool others on MNIST: LeNet-5, VGG, and both trained against FGM.

ε = 2 as in the paper, without clipping and with it, on test images that all four answer right. The robust
nets have ELU in place of ReLU, as the paper's do: a LeNet-5 with ELU that was trained without an attack shows
which of the two lowers transfer.

Source: Zhao et al. 2019, Table 3.
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

NAMES = ("LeNet", "VGG", "LeNet-adv", "VGG-adv")
#: Rows and columns of nets that were, and were not, trained against an attack.
KINDS = {"normal": [0, 1], "robust": [2, 3]}
#: What LeNet-adv would be without an attack in its training.
CONTROL = "LeNet, ELU"


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"mnist": 2000}, {"mnist": 50}, data=("mnist",))
    parser.prog = "run_table3.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    classifiers = {name: nets.load_classifier(name) for name in NAMES}
    images, labels = common.right_images(arguments, list(classifiers.values()))
    numbers: dict[str, Any] = {}
    for clip in (False, True):
        attack = kf.attacks.OSSA(common.EPSILON["mnist"], clip=clip, seed=arguments.seed)
        success = transfer(attack, classifiers, images, labels)
        numbers["clipped" if clip else "unclipped"] = summarise(success)
    attack = kf.attacks.OSSA(common.EPSILON["mnist"], clip=False, seed=arguments.seed)
    numbers |= {"names": NAMES, "control": control(attack, classifiers, images, labels)}
    used = [*NAMES, CONTROL]
    common.write(arguments, "table3_mnist", started, numbers, used, epsilon=common.EPSILON["mnist"])


def transfer(
    attack: kf.attacks.OSSA, classifiers: dict[str, kf.Classifier], images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Returns (n, tested on, crafted from) bool."""

    def compute(images: np.ndarray, labels: np.ndarray) -> parts.Arrays:
        return {
            "success": np.moveaxis(
                kf.attacks.transfer_matrix(attack, classifiers, images, labels).success, 2, 0
            )
        }

    # The key has the weights of one net: those of the others go into the settings.
    first, *others = classifiers.values()
    settings = attack, list(classifiers), [nets.weights_digest(other) for other in others]
    return parts.in_parts("transfer", first, images, labels, compute, settings, 100)["success"]


def control(
    attack: kf.attacks.OSSA, classifiers: dict[str, kf.Classifier], images: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Returns what normal nets' images do to the control, and its own to them; of those it answers right."""
    normal = {name: classifiers[name] for name in [NAMES[index] for index in KINDS["normal"]]}
    beside = {CONTROL: nets.load_classifier(CONTROL)}
    is_right = beside[CONTROL].predict(images) == labels
    images, labels = images[is_right], labels[is_right]
    success = transfer(attack, beside | normal, images, labels)
    return {
        "name": CONTROL,
        "fooled_from": {name: estimates.share(success[:, 0, i]) for i, name in enumerate(normal, start=1)},
        "fools": {name: estimates.share(success[:, i, 0]) for i, name in enumerate(normal, start=1)},
    }


def summarise(success: np.ndarray) -> dict[str, object]:
    """Returns both ways to count, of all images or of those that fool their own net, with intervals.

    Each by cells, and by means over the cells of two kinds of nets, no net on itself.
    """
    own = np.diagonal(success, axis1=1, axis2=2)

    def cells(success: np.ndarray, is_counted: np.ndarray) -> np.ndarray:
        """Returns percent (tested on, crafted from)."""
        fooled = (success & is_counted[:, None, :]).sum(axis=0)
        return 100.0 * fooled / np.maximum(is_counted.sum(axis=0), 1)

    def blocks(are_all: bool) -> dict[str, object]:
        def mean_of(rows: list[int], columns: list[int]) -> dict[str, object]:
            pairs = [(i, j) for i in rows for j in columns if i != j]

            def mean(drawn: np.ndarray) -> float:
                counted = np.ones(drawn.shape[::2], bool) if are_all else np.diagonal(drawn, axis1=1, axis2=2)
                found = cells(drawn, counted)
                return float(np.mean([found[pair] for pair in pairs]))

            return estimates.bootstrap(mean, success)

        return {
            f"{tested}_from_{crafted}": mean_of(KINDS[tested], KINDS[crafted])
            for tested in KINDS
            for crafted in KINDS
        }

    return {
        "fooled": [[estimates.share(success[:, i, j]) for j in range(4)] for i in range(4)],
        "fooled_of_successful": [
            [estimates.share(success[own[:, j], i, j]) for j in range(4)] for i in range(4)
        ],
        "blocks": blocks(are_all=True),
        "blocks_of_successful": blocks(are_all=False),
    }


if __name__ == "__main__":
    main()
