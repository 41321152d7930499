"""Claims of the paper beside its tables: the forest's settings, Monte Carlo sampling, smooth activations.

forest       AUC of the eigenvalues for depths, numbers of trees and of eigenvalues, and strengths of OSSA
             ("varying the parameters (e.g. the tree depth, the value of ε, etc.) does not significantly
             affect the AUC scores")
sampling     OSSA from Algorithm 1's draws: λ₁, least norm, rate ("the effectiveness is not degraded")
activations  on MNIST: FGM, OSSA and the detector on LeNet-5 with ReLU and with ELU ("similar phenomenon can
             be reproduced in a network with smooth activations"); for λ₁ against least norms see figure 3

Source: Zhao et al. 2019, sections 3.2, 3.3 and 4.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import _detection as detection
import _estimates as estimates
import _nets as nets
import _parts as parts
import _reproduction as common
import numpy as np
from _kept_detectors import kept
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

import keras_fisher as kf

DEPTHS = (1, 2, 3, 5, 8, 12, None)
NUM_TREES = (5, 10, 20, 50, 100, 300)
NUM_EIGENVALUES = (1, 2, 3, 5, 9, 20)
#: Further seeds of the standard forest: by how much chance alone moves its AUC.
NUM_SEEDS = 10
#: The setting that stands when another varies: kf.FisherDetector's own.
DEPTH, TREES = 5, 100
STRENGTHS = {"mnist": (1.0, 1.5, 2.0, 3.0), "cifar10": (0.25, 0.5, 1.0, 2.0)}
ACTIVATIONS = ("LeNet", "LeNet, ELU")
NUM_DRAWS = (2, 10, 100, 1000)
#: Images, for sampling, at most.
NUM_SAMPLED = {"mnist": 1000, "cifar10": 80}


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"mnist": 2000, "cifar10": 300}, {"mnist": 120, "cifar10": 25})
    parser.prog = "run_claims.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    numbers = {"forest": forest(arguments), "sampling": sampling(arguments)}
    used = (nets.NET_OF[arguments.data],)
    if arguments.data == "mnist":
        numbers["activations"] = activations(arguments)
        used = ACTIVATIONS
    config = {
        "depth": DEPTH,
        "trees": TREES,
        "epsilon": common.EPSILON[arguments.data],
        "search": parts.LEAST_NORM,
    }
    common.write(arguments, f"claims_{arguments.data}", started, numbers, used, **config)


def forest(arguments: Any) -> dict[str, Any]:
    """Returns the AUC for each setting of the forest, one varied at a time, and across strengths.

    Fitted to half of the sources, tested on the others, all images counted; negatives are clean images and
    noise as long as the perturbation.
    """
    data, seed = arguments.data, arguments.seed
    classifier = nets.load_classifier(nets.NET_OF[data])
    images, labels = common.right_images(arguments, [classifier])
    heads = {f"depth {depth}": one_forest(depth, TREES, seed) for depth in DEPTHS}
    heads |= {f"{count} trees": one_forest(DEPTH, count, seed) for count in NUM_TREES}
    heads |= {f"{count} eigenvalues": first_columns(count, seed) for count in NUM_EIGENVALUES}
    kinds = {
        epsilon: features_of_attack(arguments, classifier, images, labels, epsilon)
        for epsilon in STRENGTHS[data]
    }
    middle = common.EPSILON[data]
    standard = detection.score_second_half(kf.FisherDetector(classifier, seed=seed), kinds[middle])
    settings = {}
    for name, head in heads.items():
        scores = detection.score_second_half(
            kf.FisherDetector(classifier, head=head, seed=seed), kinds[middle]
        )
        # On the same images: the interval of the difference is not that of two AUCs.
        settings[name] = {"auc": scores.auc(seed), "less_standard": scores.auc_less(standard, seed)}
    seeds = []
    for other in range(1, NUM_SEEDS + 1):
        head = one_forest(DEPTH, TREES, seed + other)
        scores = detection.score_second_half(
            kf.FisherDetector(classifier, head=head, seed=seed), kinds[middle]
        )
        seeds.append(scores.auc_less(standard, seed))
    strengths = []
    for fitted in STRENGTHS[data]:
        for tested in STRENGTHS[data]:
            scores = detection.score_second_half(
                kf.FisherDetector(classifier, seed=seed), kinds[fitted], kinds[tested]
            )
            strengths.append({"trained_on": fitted, "attack": tested, "auc": scores.auc(seed)})
    return {
        "attack": f"OSSA, ε = {middle:g}",
        "settings": settings,
        "seeds_less_standard": seeds,
        "strengths": strengths,
    }


def features_of_attack(
    arguments: Any, classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray, epsilon: float
) -> list[np.ndarray]:
    """Returns the features of OSSA's images, the clean ones, and noise as long as the perturbation."""
    found = parts.attacked(kf.attacks.OSSA(epsilon, seed=arguments.seed), classifier, images, labels)
    noisy = kf.detectors.matched_noise(classifier, images, found.norms, seed=arguments.seed)
    detector = kept(kf.FisherDetector(classifier, seed=arguments.seed))
    return [detector.features_of(kind) for kind in (found.images, images, noisy)]


def one_forest(depth: int | None, count: int, seed: int) -> RandomForestClassifier:
    """Returns the paper's forest with both classes of the same weight, as kf.FisherDetector has it."""
    return RandomForestClassifier(count, max_depth=depth, class_weight="balanced", random_state=seed)


def first_columns(count: int, seed: int) -> Any:
    """Returns the forest on the first columns only."""
    choose = make_column_transformer(("passthrough", list(range(count))))
    return make_pipeline(choose, one_forest(DEPTH, TREES, seed))


def sampling(arguments: Any) -> dict[str, Any]:
    """Returns λ₁ by draws over the true one, and what OSSA with draws does, beside OSSA and noise."""
    classifier = nets.load_classifier(nets.NET_OF[arguments.data])
    images, labels = common.right_images(arguments, [classifier])
    count = min(len(images) // 2, NUM_SAMPLED[arguments.data])
    images, labels = images[:count], labels[:count]
    exact = parts.first_eigenvalues(classifier, images)
    attacks: dict[str, kf.attacks.FixedEpsilonAttack] = {
        "all classes": kf.attacks.OSSA(clip=False, seed=arguments.seed),
        "noise": kf.attacks.RandomNoise(clip=False, seed=arguments.seed),
    }
    ratios = {}
    for count in NUM_DRAWS:
        solver = kf.solvers.Sampled(kf.solvers.PowerIteration(), count)
        name = f"{count} draws"
        attacks[name] = kf.attacks.OSSA(clip=False, solver=solver, seed=arguments.seed)
        found = parts.first_eigenvalues(classifier, images, solver, arguments.seed)
        ratio = found / exact
        ratios[name] = {
            "median_ratio": float(np.median(ratio)),
            "below_1_percent": estimates.share(ratio < 0.01),
        }
    found = {name: parts.least_norms(attack, classifier, images, labels) for name, attack in attacks.items()}
    report = {}
    for name, one in found.items():
        both = one["success"] & found["all classes"]["success"]
        report[name] = {
            "fooled": estimates.share(one["success"]),
            "norm": estimates.mean(one["norms"][one["success"]]),
            # Image by image.
            "norm_more": estimates.mean((one["norms"] - found["all classes"]["norms"])[both]),
            "fooled_less": estimates.mean(
                100.0 * (found["all classes"]["success"].astype(int) - one["success"])
            ),
            "eigenvalue": ratios.get(name),
        }
    return report


def activations(arguments: Any) -> dict[str, Any]:
    """Returns least norms and AUC of LeNet-5 with ReLU and with ELU."""
    report = {}
    for name in ACTIVATIONS:
        classifier = nets.load_classifier(name)
        images, labels = common.right_images(arguments, [classifier])
        rows: dict[str, Any] = {}
        for attack in (kf.attacks.FGM(clip=False), kf.attacks.OSSA(clip=False, seed=arguments.seed)):
            found = parts.least_norms(attack, classifier, images, labels)
            rows[type(attack).__name__] = {
                "fooled": estimates.share(found["success"]),
                "norm": estimates.mean(found["norms"][found["success"]]),
            }
        kinds = features_of_attack(arguments, classifier, images, labels, common.EPSILON["mnist"])
        scores = detection.score_second_half(kf.FisherDetector(classifier, seed=arguments.seed), kinds)
        report[name] = rows | {"auc": scores.auc(arguments.seed)}
    return report


if __name__ == "__main__":
    main()
