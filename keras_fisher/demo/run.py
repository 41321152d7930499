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

    least_norms = []
    for name, attack in attacks.items():
        unclipped = dataclasses.replace(attack, clip=False)
        least = kf.attacks.least_perturbation(
            unclipped, classifier, images, labels, BRACKET, progress=progress
        )
        least_norms.append(LeastNorm(name, least.mean_norm, int(least.success.sum())))

    least = kf.attacks.least_perturbation(
        attacks["OSSA"], classifier, images, labels, BRACKET, progress=progress
    )
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
    """Returns how the images that the attack fooled are told from themselves, clean and with as much noise."""
    clean, adversarial = images[result.success], result.images[result.success]
    norms = result.norms[result.success]
    noisy = _with_noise(clean, norms, seed)
    detectors = {
        "Fisher eigenvalues, random forest": kf.FisherDetector(classifier),
        "Fisher eigenvalues, Gaussian naive Bayes": kf.FisherDetector(classifier, head="gaussian_nb"),
        "softmax probabilities, random forest": kf.detectors.SoftmaxDetector(classifier),
    }
    scores = []
    for name, detector in track(detectors.items(), f"Detectors of {setting}", len(detectors), progress):
        score = kf.detectors.holdout_auc({name: detector}, clean, adversarial, noisy=noisy, seed=seed)[name]
        scores.append(DetectorScore(name, score.auc, score.interval, score.num_train, score.num_test))
    log_eigenvalues = [
        _log_eigenvalues(classifier, given)
        for given in track((clean, noisy, adversarial), f"Spectra of {setting}", 3, progress)
    ]
    return Detection(setting, tuple(scores), norms, *log_eigenvalues)


def _with_noise(images: Array, norms: Array, seed: int) -> Array:
    """Returns the images plus Gaussian noise, which after clipping to [0, 1] has the l2 norms asked for."""
    noise = np.random.default_rng(seed).standard_normal(images.shape)
    lower, upper = np.zeros(len(images)), np.full(len(images), 10.0)
    for _ in range(40):  # The norm after clipping grows with the scale: bisect.
        scale = 0.5 * (lower + upper)
        noisy = np.clip(images + scale[:, None, None, None] * noise, 0.0, 1.0)
        is_enough = np.linalg.norm((noisy - images).reshape(len(images), -1), axis=1) >= norms
        lower, upper = np.where(is_enough, lower, scale), np.where(is_enough, scale, upper)
    return noisy.astype(images.dtype)


def _log_eigenvalues(classifier: kf.Classifier, images: Array) -> Array:
    """Returns (n,) log₁₀ λ₁, finite also where λ₁ underflows."""
    spectrum = kf.fisher_spectrum(classifier, images, eigenvectors=False)
    return spectrum.log_eigenvalues[:, 0] / np.log(10)


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
