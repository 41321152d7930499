"""Detectors beside the literature's: held-out AUC, TPR at fixed FPR, unseen and adaptive attacks, time.

Sources are test images that LeNet-5 (MNIST) or VGG (CIFAR-10) gets right and that no choice in this
repository has looked at: not the packaged sample, not the 3,500 that the stored detector was fitted to or
features were tried on. Fitting `epsilon` to failures too, and the settings of `adaptive`, were decided after
a first run on them. Every part goes through `kf.detectors.evaluate`: detectors are fitted to one side of
the sources, thresholds set on another, numbers taken on the third. Attacks are kept in runs/, so that a run
that was interrupted goes on where it was; delete it after a change of an attack. Tables are printed; JSON and
ROC curves go to --output.

    python scripts/benchmark_detectors.py                   all parts, about an hour on two cores
    python scripts/benchmark_detectors.py --only least_norm one of: least_norm, epsilon, strength, unseen,
                                                            adaptive, cifar10, cost

least_norm  FGM, OTCM, Opt, BIM, OSSA, C&W at their least norm, every training attack by every attack
epsilon     one step and BIM at epsilon = 2, clipped
strength    BIM of 0.1 × 20 … 100 steps, deep into the wrong class, fitted to 45 steps and to each by itself
unseen      Foolbox's DDN and DeepFool, fitted to FGM alone
adaptive    attacks on the classifier and the fitted detector at once
cifar10     BIM at epsilon = 1 and C&W with confidence 15
cost        seconds to score images, in units of plain model.predict
"""

# pyright: reportPrivateImportUsage=false
# Foolbox names its public parts in a way that pyright takes for private.

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import pathlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import foolbox
import numpy as np
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import artefacts
from keras_fisher.attacks import AttackResult
from keras_fisher.detectors import baselines
from keras_fisher.detectors.surrogates import surrogate_of

PARTS = ("least_norm", "epsilon", "strength", "unseen", "adaptive", "cifar10", "cost")
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
#: Test images answered right that were used before: see above.
NUM_SEEN = 3500
#: Clean training images that KD, LID and Mahalanobis compare with.
NUM_REFERENCE = 3000
STRENGTHS = (20, 30, 45, 60, 80, 100)
SEED = 0

Attack = Callable[..., AttackResult]


def main() -> None:
    arguments = parse_arguments()
    parts = [arguments.only] if arguments.only else PARTS
    for part in parts:
        started = time.perf_counter()
        print(f"\n## {part}", flush=True)
        globals()[f"run_{part}"](arguments)
        print(f"\n{part}: {time.perf_counter() - started:.0f} s", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--num-sources", type=int, help="default: 1500, adaptive 300, cifar10 400")
    parser.add_argument("--output", type=pathlib.Path, default=REPOSITORY / "runs" / "benchmark_detectors")
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    return parser.parse_args()


def run_least_norm(arguments: argparse.Namespace) -> None:
    classifier, images, labels = mnist(arguments, 1500)
    evaluation = evaluate(
        arguments, "least_norm", mnist_detectors(classifier, arguments), least_norm_attacks(), images, labels
    )
    for name in evaluation.detectors:
        print(f"\n{name}, AUC %, trained on (down), tested on (across):\n{evaluation.cross_table(name)}")
    print(f"\nWorst of all attacks:\n{evaluation.table(trained_on='FGM', subset='worst_case')}")


def run_epsilon(arguments: argparse.Namespace) -> None:
    classifier, images, labels = mnist(arguments, 1500)
    attacks: dict[str, Attack] = {
        "FGM": kf.attacks.FGM(2.0),
        "OTCM": kf.attacks.OTCM(2.0),
        "OSSA": kf.attacks.OSSA(2.0),
        "BIM until fooled": kf.attacks.BIM(2.0, step_size=0.1, steps=20),
        "BIM all steps": kf.attacks.BIM(2.0, step_size=0.1, steps=40, early_stop=False),
    }
    detectors = mnist_detectors(classifier, arguments)
    evaluation = evaluate(arguments, "epsilon", detectors, attacks, images, labels, fit_to="all")
    print_diagonal(evaluation, attacks, "all")


def run_strength(arguments: argparse.Namespace) -> None:
    classifier, images, labels = mnist(arguments, 1500)
    attacks: dict[str, Attack] = {
        f"BIM {steps}": kf.attacks.BIM(1e3, step_size=0.1, steps=steps, early_stop=False)
        for steps in STRENGTHS
    }
    evaluation = evaluate(arguments, "strength", own_detectors(classifier), attacks, images, labels)
    print_diagonal(evaluation, attacks, "successful")
    print("\nFitted to 45 steps:")
    print(evaluation.table(trained_on="BIM 45"))
    for name in ("extended", "extended, logistic"):
        print(f"\n{name}, AUC %, trained on (down), tested on (across):\n{evaluation.cross_table(name)}")
    evaluation.draw_roc(arguments.output / "strength_roc.png", trained_on="BIM 45", attack="BIM 45")


def run_unseen(arguments: argparse.Namespace) -> None:
    classifier, images, labels = mnist(arguments, 1500)
    attacks: dict[str, Attack] = {
        "FGM": least(kf.attacks.FGM()),
        "DDN": kf.interop.foolbox.from_foolbox(foolbox.attacks.DDNAttack(steps=50)),
        "DeepFool": kf.interop.foolbox.from_foolbox(foolbox.attacks.L2DeepFoolAttack()),
    }
    evaluation = evaluate(
        arguments,
        "unseen",
        mnist_detectors(classifier, arguments),
        attacks,
        images,
        labels,
        train_attacks=["FGM"],
    )
    print(evaluation.table())


def run_adaptive(arguments: argparse.Namespace) -> None:
    """Attacks that know the detector, beside the same attack that does not, at epsilon = 3."""
    classifier, images, labels = mnist(arguments, 300)
    plain = kf.attacks.BIM(3.0, step_size=0.1, steps=60)

    def aware(kind: str, **settings: Any) -> Attack:
        def attack(detector: Any, labelled: Any, images: np.ndarray, labels: np.ndarray) -> AttackResult:
            target = detector if kind == "scores" else surrogate_of(detector, labelled, kind, seed=SEED)
            return kf.adaptive.DetectorAware(target, **settings)(classifier, images, labels)

        return attack

    steps = kf.attacks.PGD(epsilon=3.0, steps=50)
    adaptive = {
        "PGD, distilled": aware("distilled", method=steps),
        "PGD, naive Bayes": aware("naive_bayes", method=steps),
        "PGD, scores only": aware("scores", method=kf.attacks.PGD(epsilon=3.0, steps=15)),
        "C&W, distilled": aware(
            "distilled",
            method=kf.attacks.CarliniWagner(steps=60, step_size=0.05, binary_search_steps=4),
            confidence=2.0,
        ),
    }
    forests = ("eigenvalues", "extended", "softmax")
    detectors = {name: detector for name, detector in own_detectors(classifier).items() if name in forests}
    evaluation = evaluate(arguments, "adaptive", detectors, {"BIM": plain}, images, labels, adaptive=adaptive)
    print(evaluation.table(subset="successful", evasion=True))
    print(evaluation.table(subset="adaptive", evasion=True))


def run_cifar10(arguments: argparse.Namespace) -> None:
    classifier = kf.Classifier(kf.models.vgg(weights="cifar10_narrow"))
    images, labels = kf.datasets.load("cifar10", "test", data_dir=arguments.data_dir)
    # The first 1,000 served to try things.
    chosen = 1000 + np.flatnonzero(classifier.predict(images[1000:]) == labels[1000:])
    chosen = chosen[: arguments.num_sources or 400]
    attacks: dict[str, Attack] = {
        "BIM": kf.attacks.BIM(1.0, step_size=0.05, steps=40, early_stop=False),
        "C&W": kf.attacks.CarliniWagner(steps=60, step_size=0.01, binary_search_steps=3, confidence=15.0),
    }
    evaluation = evaluate(
        arguments, "cifar10", own_detectors(classifier), attacks, images[chosen], labels[chosen]
    )
    print_diagonal(evaluation, attacks, "successful")
    for name in evaluation.detectors:
        print(f"\n{name}, AUC %, trained on (down), tested on (across):\n{evaluation.cross_table(name)}")


def run_cost(arguments: argparse.Namespace) -> None:
    """Times scoring beside plain prediction, turn by turn."""
    images, labels = kf.datasets.mnist_sample()
    classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
    result = kf.attacks.OSSA(epsilon=4.0)(classifier, images, labels)
    one = images[:1]
    times: dict[str, list[float]] = {}
    for features in ("paper", "extended"):
        detector = kf.FisherDetector(classifier, features=features)
        detector.fit(images[result.success], result.images[result.success])
        folder = detector.export(arguments.output / f"export_{features}")
        serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
        runs: dict[str, Callable[[], Any]] = {
            "model.predict, 1,000": lambda: classifier.model.predict(images, verbose=0),
            f"score_samples, 1,000, {features}": functools.partial(detector.score_samples, images),
            f"score_samples, one, {features}": functools.partial(detector.score_samples, one),
            f"SavedModel, 1,000, {features}": functools.partial(serve, images=tf.constant(images)),
            f"SavedModel, one, {features}": functools.partial(serve, images=tf.constant(one)),
        }
        for run in runs.values():
            run()
        for _ in range(7):
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                times.setdefault(name, []).append(time.perf_counter() - started)
    medians = {name: float(np.median(found)) for name, found in times.items()}
    predict = medians["model.predict, 1,000"]
    text = json.dumps({"seconds": medians, "versions": artefacts.versions()}, indent=2) + "\n"
    artefacts.write_atomically(arguments.output / "cost.json", lambda path: path.write_text(text))
    for name, median in medians.items():
        ratio = f"{median / predict:.1f} × predict" if "1,000" in name else ""
        print(f"{name}: {1e3 * median:.1f} ms {ratio}")


def evaluate(
    arguments: argparse.Namespace,
    part: str,
    detectors: Mapping[str, kf.detectors.Detector],
    attacks: Mapping[str, Attack],
    images: np.ndarray,
    labels: np.ndarray,
    **settings: Any,
) -> kf.detectors.Evaluation:
    """Returns the evaluation, written to the output folder, of attacks that are kept there."""
    kept = {name: Kept(attack, arguments.output / "attacks") for name, attack in attacks.items()}
    evaluation = kf.detectors.evaluate(detectors, kept, images, labels, seed=SEED, progress=True, **settings)
    print(f"{part}: sources {json.dumps(evaluation.num_sources)}, seed {SEED}")
    path = evaluation.save(arguments.output / f"{part}.json")
    print(f"written to {path.name}")
    return evaluation


class Kept:
    """An attack whose result is kept in a file, by its settings and its images."""

    def __init__(self, attack: Attack, folder: pathlib.Path) -> None:
        self.attack = attack
        self.folder = folder

    def __repr__(self) -> str:
        return repr(self.attack)

    def __call__(self, classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray) -> AttackResult:
        # Not the addresses of functions and objects, which change from run to run.
        settings = re.sub(r" at 0x[0-9a-f]+", "", repr(self.attack))
        state = hashlib.sha256(f"{settings} {classifier.model.name}".encode())
        for array in (images, labels, *classifier.model.get_weights()):
            state.update(np.ascontiguousarray(array).tobytes())
        file = self.folder / f"{state.hexdigest()[:24]}.npz"
        if not file.exists():
            result = self.attack(classifier, images, labels)
            fields = {name: getattr(result, name) for name in AttackResult.__dataclass_fields__}
            artefacts.write_atomically(file, lambda path: np.savez_compressed(path, **fields))
        with np.load(file) as found:
            return AttackResult(**{name: found[name] for name in AttackResult.__dataclass_fields__})


def mnist(arguments: argparse.Namespace, num_sources: int) -> tuple[kf.Classifier, np.ndarray, np.ndarray]:
    """Returns LeNet-5, and test images that it gets right and nothing was chosen by, with labels."""
    classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
    images, labels = kf.datasets.load("mnist", "test", data_dir=arguments.data_dir)
    others = np.setdiff1d(np.arange(len(images)), kf.datasets.mnist_sample_positions())
    images, labels = images[others], labels[others]
    chosen = np.flatnonzero(classifier.predict(images) == labels)[NUM_SEEN:]
    chosen = chosen[: arguments.num_sources or num_sources]
    return classifier, images[chosen], labels[chosen]


def reference(arguments: argparse.Namespace, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first training images with their labels."""
    images, labels = kf.datasets.load(name, "train", data_dir=arguments.data_dir)
    return images[:count], labels[:count]


def own_detectors(classifier: kf.Classifier) -> dict[str, kf.detectors.Detector]:
    """Returns the eigenvalues, the extended features, and what the softmax alone can do."""
    return {
        "eigenvalues": kf.FisherDetector(classifier),
        "eigenvalues, naive Bayes": kf.FisherDetector(classifier, head="gaussian_nb"),
        "extended": kf.FisherDetector(classifier, features="extended"),
        "extended, logistic": kf.FisherDetector(classifier, features="extended", head="logistic_regression"),
        "softmax": kf.detectors.SoftmaxDetector(classifier),
        "softmax, logistic": kf.detectors.SoftmaxDetector(classifier, head="logistic_regression"),
    }


def mnist_detectors(
    classifier: kf.Classifier, arguments: argparse.Namespace
) -> dict[str, kf.detectors.Detector]:
    """Returns all detectors."""
    images, _ = reference(arguments, "mnist", NUM_REFERENCE)
    scores = ("max_softmax", "entropy", "gradient_norm", "trace")
    return {
        **own_detectors(classifier),
        **{name.replace("_", " "): kf.detectors.ScoreDetector(classifier, name) for name in scores},
        "KD": baselines.KernelDensityDetector(classifier, images),
        "BU": baselines.DropoutUncertaintyDetector(classifier),
        "KD+BU": baselines.DensityUncertaintyDetector(classifier, images),
        "LID": baselines.LocalIntrinsicDimensionalityDetector(classifier, images),
        "Mahalanobis": baselines.MahalanobisDetector(classifier, images),
    }


def least_norm_attacks() -> dict[str, Attack]:
    return {
        "FGM": least(kf.attacks.FGM()),
        "OTCM": least(kf.attacks.OTCM()),
        "Opt": kf.attacks.Opt(steps=100, binary_search_steps=5, step_size=0.05),
        "BIM": kf.attacks.BIM(6.0, step_size=0.05, steps=120),
        "OSSA": least(kf.attacks.OSSA()),
        "C&W": kf.attacks.CarliniWagner(steps=100, binary_search_steps=5, step_size=0.05),
    }


def least(attack: Any) -> Attack:
    return functools.partial(kf.attacks.least_perturbation, attack)


def print_diagonal(evaluation: kf.detectors.Evaluation, attacks: Mapping[str, Attack], subset: str) -> None:
    """Prints the AUC of each detector on the attack that it was fitted to."""
    print(f"\nAUC % [95 %], {subset} images, each fitted to the attack that it is tested on")
    print(f"| detector | {' | '.join(attacks)} |\n|---|{'---|' * len(attacks)}")
    for name in evaluation.detectors:
        cells = [
            evaluation.cell(detector=name, trained_on=attack, attack=attack, subset=subset)
            for attack in attacks
        ]
        shown = [
            f"{100 * cell.auc:.1f} [{100 * cell.interval[0]:.1f}, {100 * cell.interval[1]:.1f}]"
            for cell in cells
        ]
        print(f"| {name} | {' | '.join(shown)} |")
    sizes = [
        evaluation.cell(
            detector=next(iter(evaluation.detectors)), trained_on=attack, attack=attack, subset=subset
        ).num_sources
        for attack in attacks
    ]
    print(f"| n | {' | '.join(map(str, sizes))} |")


if __name__ == "__main__":
    main()
