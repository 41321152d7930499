"""Section 3.3: Fisher–Rao length of the image of a step, against √(ηᵀ G η) and against √λ₁ ‖η‖.

The net maps the segment from x to x + η to a curve in the simplex of probabilities, whose length by the
Fisher–Rao metric is ∫ √(ηᵀ G(x + t η) η) dt. For a small step it is √(ηᵀ G η) in *every* direction: that is
what pulling the metric back means. Theorem 1's isometry, "will not be compressed", is told from other
directions by the second ratio, to √λ₁ ‖η‖, the most that a step of that length can make of itself: 1 for the
top eigenvector, √(λ_k / λ₁) for the k-th, almost nothing for noise.

In float64, with the curve from each length to the next cut into 24 pieces, each measured along its great
circle on the sphere of √p. The images as they are, and with Gaussian noise of 1e-4 a pixel: where
neighbouring pixels are equal, as in MNIST's background, max-pooling has ties, and the net is not
differentiable at the very image.

Source: Zhao et al. 2019, section 3.3; Rao 1945 for the distance 2 arccos Σ √(p q).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import _nets as nets
import _parts as parts
import _reproduction as common
import numpy as np

import keras_fisher as kf

NETS = {"mnist": ("LeNet", "LeNet, ELU"), "cifar10": ("VGG, CIFAR-10",)}
EPSILONS = tuple(float(x) for x in np.logspace(-7, 0.5, 16))
#: From one length to the next.
NUM_PIECES = 24
#: Standard deviation of the noise that breaks ties, in pixels.
DITHER = 1e-4
#: Counted from one.
EIGENVECTORS = (1, 2, 5, 9)


def main(words: Sequence[str] | None = None) -> None:
    parser = common.add_options(__doc__, {"mnist": 200, "cifar10": 4}, {"mnist": 20, "cifar10": 1})
    parser.prog = "run_geometry.py"
    arguments = common.complete(parser, words)
    started = time.perf_counter()
    numbers = {
        name + (", ties broken" if dither else ""): measure(arguments, name, dither)
        for name in NETS[arguments.data]
        for dither in (0.0, DITHER)
    }
    common.write(
        arguments,
        f"geometry_{arguments.data}",
        started,
        numbers,
        NETS[arguments.data],
        epsilons=EPSILONS,
        pieces=NUM_PIECES,
        dither=DITHER,
    )


def measure(arguments: Any, name: str, dither: float) -> dict[str, Any]:
    """Returns quartiles of both ratios, by direction and epsilon."""
    images, labels = common.right_images(arguments, [nets.load_classifier(name)])
    classifier = kf.Classifier(kf.testing.float64_copy(nets.load_net(name)), bounds=None)
    noise = np.random.default_rng(arguments.seed).standard_normal(images.shape)
    images = images.astype(np.float64) + dither * noise

    def compute(images: np.ndarray, labels: np.ndarray) -> parts.Arrays:
        return ratios(classifier, images, labels, arguments.seed)

    settings = EPSILONS, NUM_PIECES, EIGENVECTORS, arguments.seed
    found = parts.in_parts("geometry", classifier, images, labels, compute, settings, 20)
    names = direction_names()
    report = {}
    for index, direction in enumerate(names):
        report[direction] = {
            kind: np.percentile(found[kind][:, index], [25, 50, 75], axis=0).T
            for kind in ("to_metric", "to_most")
        }
    return {"n": len(images), "directions": report}


def direction_names() -> list[str]:
    """Returns the names of the directions."""
    return [*(f"eigenvector {k}" for k in EIGENVECTORS), "gradient", "noise"]


def ratios(classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray, seed: int) -> parts.Arrays:
    """Returns both ratios (n, directions, epsilons)."""
    spectrum = kf.fisher_spectrum(classifier, images, solver="exact")
    vectors = np.asarray(spectrum.eigenvectors, np.float64)
    count = len(images)
    gradient = kf.attacks.FGM(1e-3, clip=False)(classifier, images, labels).images - images
    # Another noise than that which broke the ties.
    noise = np.random.default_rng([seed, 1]).standard_normal(images.shape)
    directions = [*(vectors[:, k - 1] for k in EIGENVECTORS), unit(gradient), unit(noise)]
    flat = vectors.reshape(count, vectors.shape[1], -1)
    found: dict[str, list[np.ndarray]] = {"to_metric": [], "to_most": []}
    for direction in directions:
        # ηᵀ G η of a unit vector by the spectrum, whose rank is all that G has.
        products = np.einsum("nkd,nd->nk", flat, direction.reshape(count, -1))
        speed = np.sqrt(np.sum(spectrum.eigenvalues * products**2, axis=1))
        most = np.sqrt(spectrum.eigenvalues[:, 0])
        lengths = curve_lengths(classifier, images, direction)
        for kind, unit_length in (("to_metric", speed), ("to_most", most)):
            found[kind].append(lengths / (unit_length[:, None] * np.array(EPSILONS)))
    return {kind: np.stack(arrays, axis=1) for kind, arrays in found.items()}


def unit(directions: np.ndarray) -> np.ndarray:
    """Returns (n, h, w, c) of length one."""
    norms = np.linalg.norm(directions.reshape(len(directions), -1), axis=1)
    return directions / norms.reshape(-1, 1, 1, 1)


def curve_lengths(classifier: kf.Classifier, images: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Returns the Fisher–Rao lengths (n, epsilons) of the images of the segments from x to x + ε η."""
    total = np.zeros(len(images))
    before = classifier.logits(images)
    lengths = []
    for start, end in itertools.pairwise((0.0, *EPSILONS)):
        for epsilon in np.linspace(start, end, NUM_PIECES + 1)[1:]:
            after = classifier.logits(images + epsilon * directions)
            total = total + fisher_rao_distance(before, after)
            before = after
        lengths.append(total)
    return np.stack(lengths, axis=1)


def fisher_rao_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the distance (n,) of two softmax distributions given by logits (n, classes), float64.

    2 arccos Σ √(p q) loses all digits where p ≈ q. The chord ‖√p − √q‖ does not, if each √p_i − √q_i is
    formed as √q_i (exp(½ ln(p_i / q_i)) − 1): the distance is 4 arcsin of half the chord.
    """
    top = first.argmax(axis=1)
    log_p, log_q = log_softmax(first, top), log_softmax(second, top)
    chord = np.exp(0.5 * log_q) * np.expm1(0.5 * (log_p - log_q))
    half = 0.5 * np.linalg.norm(chord, axis=1)
    return 4.0 * np.arcsin(np.minimum(half, 1.0))


def log_softmax(logits: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Returns log p (n, classes); that of the class `top` is −log(1 + Σ others), which keeps its digits."""
    rows = np.arange(len(logits))
    relative = logits - logits[rows, top][:, None]
    others = np.exp(relative)
    others[rows, top] = 0.0
    return relative - np.log1p(others.sum(axis=1))[:, None]


if __name__ == "__main__":
    main()
