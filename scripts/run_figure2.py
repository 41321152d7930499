"""Figure 2: the share of images misclassified, (a) against the l2 norm of one step, (b) against iterations.

(a) FGM, OTCM with random targets and OSSA; (b) BIM, iterative OTCM and iterative OSSA with the paper's step
of 0.05 (MNIST) and 0.025 (CIFAR-10), in no ball. Unclipped and, for one step, clipped.

Source: Zhao et al. 2019, Figure 2.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import _estimates as estimates
import _nets as nets
import _parts as parts
import _reproduction as common
import numpy as np

import keras_fisher as kf

EPSILONS = {"mnist": np.linspace(0, 6, 49), "cifar10": np.linspace(0, 3, 49)}
MOST_ITERATIONS = 100
NINETY = 0.9


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"mnist": 2000, "cifar10": 200}, {"mnist": 100, "cifar10": 20})
    parser.prog = "run_figure2.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    data, seed = arguments.data, arguments.seed
    classifier = nets.load_classifier(nets.NET_OF[data])
    images, labels = common.right_images(arguments, [classifier])
    one_step = {
        f"{name}{', clipped' if clip else ''}": attack
        for clip in (False, True)
        for name, attack in {
            "FGM": kf.attacks.FGM(clip=clip),
            "OTCM": kf.attacks.OTCM(clip=clip, seed=seed),
            "OSSA": kf.attacks.OSSA(clip=clip, seed=seed),
        }.items()
    }
    # The ordinary cross-entropy, which is what the paper's own FGM most likely was: see table 2.
    one_step["FGM, float32 loss"] = kf.attacks.FGM(clip=False, float32_loss=True)
    small = {"epsilon": common.NO_BALL, "step_size": common.STEP_SIZE[data], "clip": False}
    iterative = {
        "BIM": kf.attacks.BIM(**small),
        "iterative OTCM": kf.attacks.IterativeOTCM(**small, seed=seed),
        "iterative OSSA": kf.attacks.IterativeOSSA(**small),
    }
    iterations = np.arange(MOST_ITERATIONS + 1)
    numbers = {
        "one_step": {
            name: curve(attack, classifier, images, labels, "epsilons", EPSILONS[data])
            for name, attack in one_step.items()
        },
        "iterative": {
            name: curve(attack, classifier, images, labels, "iterations", iterations)
            for name, attack in iterative.items()
        },
    }
    used = [nets.NET_OF[data]]
    common.write(arguments, f"figure2_{data}", started, numbers, used, step_size=common.STEP_SIZE[data])


def curve(
    attack: kf.attacks.FixedEpsilonAttack,
    classifier: kf.Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    argument: str,
    points: np.ndarray,
) -> dict[str, object]:
    """Returns the curve over points of `argument` with its 95 % band, and where it reaches 90 %.

    Args:
        attack: an iterative one over iterations.
        classifier: what it is to fool.
        images: (n, h, w, c), answered right.
        labels: (n,).
        argument: "epsilons" or "iterations".
        points: (m,) of them.
    """

    def compute(images: np.ndarray, labels: np.ndarray) -> parts.Arrays:
        found = kf.attacks.fooling_curve(
            attack,
            classifier,
            images,
            labels,
            epsilons=points if argument == "epsilons" else None,
            iterations=points if argument == "iterations" else None,
        )
        return {"success": found.success.T}

    name = f"curve of {type(attack).__name__}"
    success = parts.in_parts(name, classifier, images, labels, compute, (attack, argument, list(points)))
    fooled = success["success"]
    shares = [estimates.share(column) for column in fooled.T]
    return {
        argument: points,
        "percent": [one["value"] for one in shares],
        "low": [one["low"] for one in shares],
        "high": [one["high"] for one in shares],
        "n": len(fooled),
        "at_90_percent": estimates.bootstrap(lambda rows: first_at(rows, points), fooled),
    }


def first_at(fooled: np.ndarray, points: np.ndarray) -> float:
    """Returns where the share of `fooled` (n, m) first is 90 %, between points by a line; ∞ if never."""
    rates = fooled.mean(axis=0)
    above = np.flatnonzero(rates >= NINETY)
    if not len(above) or above[0] == 0:
        return float(points[0]) if len(above) else np.inf
    last = above[0]
    part = (NINETY - rates[last - 1]) / (rates[last] - rates[last - 1])
    return float(points[last - 1] + part * (points[last] - points[last - 1]))


if __name__ == "__main__":
    main()
