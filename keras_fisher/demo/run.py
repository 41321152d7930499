"""The numbers of the demo: a small net attacked on real handwritten digits, and the attack detected."""

from __future__ import annotations

import dataclasses

import numpy as np

import keras_fisher as kf
from keras_fisher.checks import check_flag, check_integer
from keras_fisher.progress import track
from keras_fisher.typing import Array

EPSILONS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
BRACKET = (0.0, 6.0)
#: Steps and bisections: least norms to within 0.02, in two thirds of the time of the library's own settings.
NUM_SCANNED, NUM_REFINED = 12, 5
DETECTED_EPSILON = 2.0
MIN_IMAGES, MAX_IMAGES = 50, 1000


@dataclasses.dataclass(frozen=True)
class Fooling:
    """How many images an attack fools at each epsilon."""

    attack: str
    #: as `DemoReport.epsilons`.
    num_fooled: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class LeastNorm:
    """The least perturbations with which an attack fools the net."""

    attack: str
    #: l2, mean over the images that are fooled; NaN for none.
    mean_norm: float
    num_fooled: int


@dataclasses.dataclass(frozen=True)
class DetectorScore:
    """How well a detector tells attacked images from others, on images that it was not fitted on."""

    detector: str
    #: in [0, 1].
    auc: float
    #: 95 %, bootstrap over the images.
    interval: tuple[float, float]
    num_train: int
    num_test: int


@dataclasses.dataclass(frozen=True, eq=False)
class Detection:
    """What the spectrum shows of an attack. Row i of each array is image i, clean, noisy and attacked."""

    setting: str
    scores: tuple[DetectorScore, ...]
    #: (n,) l2 norms of the perturbations, of the attack as of the noise.
    norms: Array
    #: (n,) log₁₀ λ₁, λ₁ in nats per squared unit of pixels.
    clean: Array
    noisy: Array
    adversarial: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One digit before and after the attack."""

    #: (28, 28), in [0, 1].
    original: Array
    adversarial: Array
    prediction: int
    adversarial_prediction: int
    #: log₁₀ λ₁
    log_eigenvalue: float
    adversarial_log_eigenvalue: float
    #: l2 norm of the perturbation.
    norm: float


@dataclasses.dataclass(frozen=True, eq=False)
class DemoReport:
    """Everything that the demo shows. Attacks start from the images that the net classifies correctly."""

    net: str
    seed: int
    num_images: int
    num_correct: int
    epsilons: tuple[float, ...]
    bracket: tuple[float, float]
    fooling: tuple[Fooling, ...]
    least_norms: tuple[LeastNorm, ...]
    detections: tuple[Detection, ...]
    examples: tuple[Example, ...]


def run_demo(num_images: int = MAX_IMAGES, seed: int = 0, progress: bool = False) -> DemoReport:
    """Returns the numbers of the demo, the same ones for the same seed.

    Args:
        num_images: how many of the packaged MNIST test images to take, in [50, 1000].
        seed: of the noise, the split and the forests.
        progress: show bars.

    Raises:
        TypeError, ValueError: a bad argument.
    """
    check_integer("num_images", num_images, MIN_IMAGES, MAX_IMAGES)
    check_integer("seed", seed, 0, 2**31 - 1)
    check_flag("progress", progress)
    model = kf.models.lenet5(weights="mnist")
    classifier = kf.Classifier(model)
    images, labels = (array[:num_images] for array in kf.datasets.mnist_sample())
    is_correct = classifier.predict(images) == labels
    images, labels = images[is_correct], labels[is_correct]

    attacks = {
        "FGM": kf.attacks.FGM(),
        "OSSA": kf.attacks.OSSA(seed=seed),
        "random noise": kf.attacks.RandomNoise(seed=seed),
    }
    grid = [(name, epsilon) for name in attacks for epsilon in EPSILONS]
    results = {}
    for name, epsilon in track(grid, "Fooling rates", len(grid), progress):
        attack = dataclasses.replace(attacks[name], epsilon=epsilon)
        results[name, epsilon] = attack(classifier, images, labels)

    def search(attack: kf.attacks.FixedEpsilonAttack) -> kf.attacks.LeastPerturbation:
        return kf.attacks.least_perturbation(
            attack,
            classifier,
            images,
            labels,
            BRACKET,
            num_scanned=NUM_SCANNED,
            num_refined=NUM_REFINED,
            progress=progress,
        )

    least_norms = []
    for name, attack in attacks.items():
        unclipped = search(dataclasses.replace(attack, clip=False))
        least_norms.append(LeastNorm(name, unclipped.mean_norm, int(unclipped.success.sum())))

    least = search(attacks["OSSA"])
    settings = {
        f"OSSA, ε = {DETECTED_EPSILON:g}": results["OSSA", DETECTED_EPSILON],
        "OSSA, least norm": least,
    }
    detections = tuple(
        _detect(setting, classifier, images, result, seed, progress) for setting, result in settings.items()
    )
    return DemoReport(
        net=model.name,
        seed=seed,
        num_images=num_images,
        num_correct=len(images),
        epsilons=EPSILONS,
        bracket=BRACKET,
        fooling=tuple(
            Fooling(name, tuple(int(results[name, epsilon].success.sum()) for epsilon in EPSILONS))
            for name in attacks
        ),
        least_norms=tuple(least_norms),
        detections=detections,
        examples=_examples(images, labels, least, detections[-1]),
    )


def _detect(
    setting: str,
    classifier: kf.Classifier,
    images: Array,
    result: kf.attacks.AttackResult,
    seed: int,
    progress: bool,
) -> Detection:
    """Returns how the images that the attack fooled are told from themselves, clean and as noisy."""
    clean, adversarial = images[result.success], result.images[result.success]
    norms = result.norms[result.success]
    noisy = kf.detectors.matched_noise(classifier, clean, norms, seed)
    fisher = kf.FisherDetector(classifier)
    features = [
        fisher.features_of(versions)
        for versions in track((clean, noisy, adversarial), f"Spectra ({setting})", 3, progress)
    ]
    known = _by_image(np.concatenate([clean, noisy, adversarial]), np.concatenate(features))
    detectors = {
        "eigenvalues, random forest": _WithKnownFeatures(classifier, "random_forest", seed, known),
        "eigenvalues, naive Bayes": _WithKnownFeatures(classifier, "gaussian_nb", seed, known),
        "softmax, random forest": kf.detectors.SoftmaxDetector(classifier, "random_forest", seed=seed),
    }
    scores = []
    for name, detector in track(detectors.items(), f"Detectors ({setting})", len(detectors), progress):
        score = kf.detectors.holdout_auc({name: detector}, clean, adversarial, noisy, seed=seed)[name]
        scores.append(DetectorScore(name, score.auc, score.interval, score.num_train, score.num_test))
    log_eigenvalues = (part[:, 0] / np.log(10) for part in features)
    return Detection(setting, tuple(scores), norms, *log_eigenvalues)


class _WithKnownFeatures(kf.detectors.Detector):
    """A `kf.FisherDetector` of images whose eigenvalues are known already: two heads for the price of one."""

    def __init__(self, classifier: kf.Classifier, head: str, seed: int, features: dict[bytes, Array]) -> None:
        super().__init__(classifier, head, seed=seed)
        self.features = features

    def features_of(self, images: Array) -> Array:
        return np.stack([self.features[image.tobytes()] for image in images])


def _by_image(images: Array, features: Array) -> dict[bytes, Array]:
    return {image.tobytes(): row for image, row in zip(images, features, strict=True)}


def _examples(
    images: Array, labels: Array, result: kf.attacks.AttackResult, detection: Detection
) -> tuple[Example, ...]:
    """Returns one example of each digit, that of the median norm: neither the easiest nor the hardest."""
    fooled = np.flatnonzero(result.success)
    chosen = []
    for digit in range(10):
        rows = np.flatnonzero(labels[fooled] == digit)
        if len(rows):
            chosen.append(rows[np.argsort(detection.norms[rows], kind="stable")[len(rows) // 2]])
    return tuple(
        Example(
            original=images[fooled[row], :, :, 0],
            adversarial=result.images[fooled[row], :, :, 0],
            prediction=int(labels[fooled[row]]),
            adversarial_prediction=int(result.predictions[fooled[row]]),
            log_eigenvalue=float(detection.clean[row]),
            adversarial_log_eigenvalue=float(detection.adversarial[row]),
            norm=float(detection.norms[row]),
        )
        for row in chosen
    )
