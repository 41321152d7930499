"""Nets made to mislead: whatever a solver says has converged, a float64 copy of the net does not refute."""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.fisher.solvers import SOLVERS

SOLVER_NAMES = ["auto", *(name for name in SOLVERS if name != "dense")]


@functools.cache
def dense_classifier(
    units: tuple[int, ...], shape: tuple[int, ...], activation: str, bounds: tuple[float, float]
) -> kf.Classifier:
    images = keras.Input(shape)
    hidden = keras.layers.Flatten()(images)
    for count in units[:-1]:
        hidden = keras.layers.Dense(count, activation=activation, use_bias=False)(hidden)
    model = keras.Model(images, keras.layers.Dense(units[-1], use_bias=False)(hidden))
    return kf.Classifier(model, from_logits=True, bounds=bounds)


def dense_net(
    kernels: list[np.ndarray],
    shape: tuple[int, ...] = (6, 6, 1),
    activation: str = "elu",
    bounds: tuple[float, float] = (0.0, 1.0),
) -> kf.Classifier:
    """Dense layers with these kernels and no bias. Nets of one size are one, to be traced once."""
    units = tuple(kernel.shape[1] for kernel in kernels)
    classifier = dense_classifier(units, shape, activation, bounds)
    classifier.model.set_weights(kernels)
    return classifier


def random_kernels(*sizes: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        (generator.standard_normal(pair) / pair[0] ** 0.5).astype(np.float32)
        for pair in itertools.pairwise(sizes)
    ]


def twins(scale: float) -> kf.Classifier:
    """The two classes on top are one: their contrast, where the start is, is nothing but rounding."""
    kernels = random_kernels(36, 20, 8)
    last = kernels[-1]
    last[:, 0] = 3 * np.abs(last[:, 0])
    last[:, 1] = last[:, 0]
    kernels[-1] = scale * last
    return dense_net(kernels)


def near_twins(scale: float) -> kf.Classifier:
    """The two classes on top differ by what float32 just resolves."""
    kernels = random_kernels(36, 20, 8)
    last = kernels[-1]
    last[:, 0] = 3 * np.abs(last[:, 0])
    last[:, 1] = last[:, 0] * (1 + 1e-6 * np.random.default_rng(3).standard_normal(20))
    kernels[-1] = scale * last
    return dense_net(kernels)


def scaled(scale: float, num_classes: int = 8) -> kf.Classifier:
    kernels = random_kernels(36, 20, num_classes)
    kernels[-1] = scale * kernels[-1]
    return dense_net(kernels)


def zero_weights() -> kf.Classifier:
    return dense_net([0 * kernel for kernel in random_kernels(36, 20, 8)])


def dead_ends() -> kf.Classifier:
    """ReLU units that are mostly off: images at which many gradients vanish."""
    kernels = random_kernels(36, 12, 8)
    kernels[0] = kernels[0] - 0.12
    return dense_net(kernels, activation="relu")


NETS = {
    **{f"twins × {scale:g}": lambda scale=scale: twins(scale) for scale in (1, 30, 1e3)},
    **{f"near twins × {scale:g}": lambda scale=scale: near_twins(scale) for scale in (1, 30, 1e3)},
    **{f"logits × {scale:g}": lambda scale=scale: scaled(scale) for scale in (1, 100, 1e4)},
    **{f"{count} classes": lambda count=count: scaled(3.0, count) for count in (2, 3, 33, 34, 66, 300)},
    "zero weights": zero_weights,
    "dead ends": dead_ends,
}


def pixels() -> np.ndarray:
    generator = np.random.default_rng(1)
    images = generator.uniform(size=(8, 6, 6, 1)).astype(np.float32)
    images[0] = 0.0
    images[1] = 1.0
    images[2] = 1e-41  # subnormal
    images[3] *= 1e-30
    return images


def exact_spectrum(classifier: kf.Classifier, images: np.ndarray) -> kf.Spectrum:
    """In float64."""
    copy = testing.float64_copy(classifier.model)
    double = kf.Classifier(copy, from_logits=True, bounds=classifier.bounds)
    return kf.fisher_spectrum(double, images.astype(np.float64), 1, "exact")


def refuted(classifier: kf.Classifier, images, solver, exact) -> np.ndarray:
    """(n,) whether λ₁ is said to have converged and is off by more than a thousandth."""
    found = kf.fisher_spectrum(classifier, images, 1, solver)
    assert np.isfinite(found.eigenvalues).all()
    with np.errstate(invalid="ignore"):
        off = np.abs(found.log_eigenvalues[:, 0] - exact.log_eigenvalues[:, 0])
    off = np.where(found.eigenvalues[:, 0] == exact.eigenvalues[:, 0], 0.0, off)
    return found.converged & ~(off <= 1e-3)


QUICK = ("twins × 30", "near twins × 1000", "logits × 10000", "66 classes")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETS]
)
def test_nothing_that_converges_is_refuted_by_a_float64_copy(name):
    classifier, images = NETS[name](), pixels()
    exact = exact_spectrum(classifier, images)
    wrong = {solver: refuted(classifier, images, solver, exact) for solver in SOLVER_NAMES}
    assert not {solver: np.flatnonzero(mask) for solver, mask in wrong.items() if mask.any()}


@pytest.mark.slow
def test_large_pixels_and_long_rows_are_no_special_case():
    generator = np.random.default_rng(2)
    images = generator.uniform(-1e6, 1e6, size=(4, 6, 6, 1)).astype(np.float32)
    kernels = random_kernels(36, 20, 8)
    kernels[0] = 1e-6 * kernels[0]
    wide = dense_net(kernels, bounds=(-1e6, 1e6))
    row = dense_net(random_kernels(2000, 16, 8), (1, 2000, 1))
    long = generator.uniform(size=(4, 1, 2000, 1)).astype(np.float32)
    exact_wide = exact_spectrum(wide, images)
    exact_row = exact_spectrum(row, long)
    for solver in SOLVER_NAMES:
        assert not refuted(wide, images, solver, exact_wide).any(), solver
        assert not refuted(row, long, solver, exact_row).any(), solver


def test_the_seed_reaches_the_start_of_golub_kahan():
    # Where a net is at a loss the start has a random part: another seed is another start.
    classifier, images = scaled(0.05, 300), pixels()
    solver = kf.solvers.FixedGolubKahan(3)
    first, again, other = (
        kf.fisher_spectrum(classifier, images, 1, solver, seed=seed).eigenvalues for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("num_classes", [4, 10, 100])
def test_runners_up_that_cancel_in_the_gradient_are_seen(num_classes):
    # A mirrored image, two classes that are each other's mirror: their contrast is the top eigenvector, and
    # the gradient of the top class has nothing of it.
    side = np.where(np.arange(8) < 4, -1.0, 1.0)
    weights = 0.02 * np.random.default_rng(0).normal(size=(8, 8, num_classes))
    weights = 0.5 * (weights + weights[:, ::-1])
    weights[..., 1] = weights[..., 2] = 0.5 * (weights[..., 1] + weights[..., 2])
    weights[..., 0] += 0.1
    weights[..., 1] -= side
    weights[..., 2] += side
    weights = weights.reshape(64, num_classes).astype(np.float32)
    probabilities = np.full(num_classes, 0.1 / (num_classes - 3))
    probabilities[:3] = 0.6, 0.15, 0.15
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    )
    model.set_weights([weights, np.log(probabilities) - 0.5 * weights.astype(float).sum(axis=0)])
    image = np.full((1, 8, 8, 1), 0.5, np.float32)
    exact = kf.fisher_spectrum(model, image, 1, solver="exact").eigenvalues
    for solver in ("auto", "golub_kahan"):
        found = kf.fisher_spectrum(model, image, 1, solver=solver)
        assert found.converged.all()
        np.testing.assert_allclose(found.eigenvalues, exact, rtol=1e-3)
