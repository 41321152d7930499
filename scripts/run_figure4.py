"""Figure 4: (a) the distribution of λ₁ of clean, noisy and FGM's images, (b) eigenvalues along OSSA's step.

(a) FGM at the least norm that fools the net and at a fixed one, within [0, 1], noise as long as the latter.
(b) The top five eigenvalues at x + ε v₁, towards the worse side, unclipped.

Source: Zhao et al. 2019, Figure 4.
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
import scipy.stats

import keras_fisher as kf

EPSILONS = {"mnist": np.linspace(0, 8, 17), "cifar10": np.linspace(0, 2, 17)}
#: Images of (b).
NUM_ALONG = {"mnist": 400, "cifar10": 100}
NUM_SHOWN = 5


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"mnist": 10_000, "cifar10": 600}, {"mnist": 200, "cifar10": 40})
    parser.prog = "run_figure4.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    data = arguments.data
    classifier = nets.load_classifier(nets.NET_OF[data])
    images, labels = common.right_images(arguments, [classifier])
    sets = distributions(arguments, classifier, images, labels)
    num_along = min(NUM_ALONG[data], len(images) // (4 if arguments.quick else 1))
    along = eigenvalues_along(arguments, images[:num_along], labels[:num_along])
    common.write_arrays(
        arguments,
        f"figure4_{data}",
        **{name: values.astype(np.float32) for name, (values, _) in sets.items()},
        along=along.astype(np.float32),
    )
    numbers = {"eigenvalue": summarise(sets), "along": {"epsilons": EPSILONS[data], **describe(along)}}
    used = [nets.NET_OF[data]]
    config = {"epsilon": common.EPSILON[data], "search": parts.LEAST_NORM}
    common.write(arguments, f"figure4_{data}", started, numbers, used, **config)


def distributions(
    arguments: Any, classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns log10 λ₁ of each set of images, and which of `images` each was made of."""
    fixed = parts.attacked(kf.attacks.FGM(common.EPSILON[arguments.data]), classifier, images, labels)
    least = parts.attacked(parts.LeastNorm(kf.attacks.FGM()), classifier, images, labels)
    noisy = kf.detectors.matched_noise(classifier, images, fixed.norms, seed=arguments.seed)
    found = {
        name: parts.log10(parts.first_eigenvalues(classifier, array))
        for name, array in {
            "clean": images,
            "noisy": noisy,
            "fixed": fixed.images,
            "least": least.images,
        }.items()
    }
    everything = np.ones(len(images), bool)
    sets = {
        "clean": (found["clean"], everything),
        "noisy": (found["noisy"], everything),
        "FGM, least norm": (found["least"], least.success),
        "FGM, fixed norm": (found["fixed"], everything),
        "FGM, fixed norm, successful": (found["fixed"], fixed.success),
    }
    return {name: (values[chosen], np.flatnonzero(chosen)) for name, (values, chosen) in sets.items()}


def eigenvalues_along(arguments: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns log10 of the top five eigenvalues (n, epsilons, five) at the end of each step."""
    classifier = nets.load_classifier(nets.NET_OF[arguments.data], bounded=False)
    epsilons = EPSILONS[arguments.data]

    def compute(images: np.ndarray, labels: np.ndarray) -> parts.Arrays:
        found = []
        for epsilon in epsilons:
            moved = images
            if epsilon:
                moved = kf.attacks.OSSA(epsilon, seed=arguments.seed)(classifier, images, labels).images
            spectrum = kf.fisher_spectrum(classifier, moved, solver="exact", eigenvectors=False)
            found.append(parts.log10(spectrum.eigenvalues[:, :NUM_SHOWN]))
        return {"along": np.stack(found, axis=1)}

    settings = list(epsilons), arguments.seed
    return parts.in_parts("along OSSA", classifier, images, labels, compute, settings, 50)["along"]


def summarise(sets: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Returns quartiles of log10 λ₁, and its AUC as a score against clean images."""
    report: dict[str, Any] = {}
    clean, sources = sets["clean"]
    for name, (values, rows) in sets.items():
        low, middle, high = np.percentile(values, [25, 50, 75]) if len(values) else [None] * 3
        skewness = float(scipy.stats.skew(values)) if len(values) else None
        report[name] = {"quartiles": [low, middle, high], "skewness": skewness, "n": len(values)}
        if name != "clean" and len(values):
            is_adversarial = np.repeat([False, True], [len(clean), len(values)])
            scores = np.concatenate([clean, values])
            report[name]["auc"] = estimates.auc(
                is_adversarial, scores, np.concatenate([sources, rows]), len(values)
            )
    return report


def describe(along: np.ndarray) -> dict[str, Any]:
    """Returns quartiles of the top eigenvalue along the step, and the share of images on which it rises."""
    first = along[:, :, 0]
    return {
        "quartiles": np.percentile(first, [25, 50, 75], axis=0).T,
        "rises_at_first": estimates.share(first[:, 1] > first[:, 0]),
        "rises_to_the_end": estimates.share(first[:, -1] > first[:, 0]),
        "n": len(along),
    }


if __name__ == "__main__":
    main()
