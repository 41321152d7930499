"""The crossed contract: solver × likelihood × kind of net × outputs × precision, against float64."""

from __future__ import annotations

import gc
import os
import pathlib

import keras
import numpy as np
import pytest

import keras_fisher as kf
from keras_fisher.fisher.solvers import SOLVERS

SHAPE = (5, 5, 2)
LIKELIHOODS = {
    "categorical": (kf.likelihoods.Categorical(), "softmax"),
    "bernoulli": (kf.likelihoods.Bernoulli(), "sigmoid"),
    "gaussian": (kf.likelihoods.Gaussian(0.5), None),
}
NAMES = ["auto", *(name for name in SOLVERS if not name.startswith("alias"))]


def net(num_outputs: int, activation: str | None, dtype: str) -> keras.Model:
    """A smooth net with a spread of weights."""
    keras.utils.set_random_seed(num_outputs)
    options = {"dtype": dtype}
    images = keras.Input(SHAPE, dtype=dtype)
    hidden = keras.layers.Flatten(**options)(images)
    hidden = keras.layers.Dense(24, activation="tanh", **options)(hidden)
    return keras.Model(images, keras.layers.Dense(num_outputs, activation=activation, **options)(hidden))


def pixels(dtype: str) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, *SHAPE)).astype(dtype)


def expected(model: keras.Model, likelihood: str) -> np.ndarray:
    """(3,) λ₁ of Jᵀ M J written out: J from the weights, M from the definition, NumPy's eigvalsh."""
    weights = [weight.astype(np.float64) for weight in model.get_weights()]
    values = []
    for image in pixels("float64").reshape(3, -1):
        hidden = np.tanh(image @ weights[0] + weights[1])
        jacobian = (weights[2] * (1 - hidden**2)[:, None]).T @ weights[0].T  # (outputs, pixels)
        z = hidden @ weights[2] + weights[3]
        if likelihood == "categorical":
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            metric = np.diag(p) - np.outer(p, p)
        elif likelihood == "bernoulli":
            p = 1 / (1 + np.exp(-z))
            metric = np.diag(p * (1 - p))
        else:
            metric = 4.0 * np.eye(len(z))
        values.append(np.linalg.eigvalsh(jacobian.T @ metric @ jacobian)[-1])
    return np.array(values)


#: Of the whole table, what is run each time. `test_likelihoods.py` has Bernoulli with four solvers.
QUICK = {
    ("categorical", 2, "softmax", "float32"),
    ("categorical", 34, None, "float32"),
    ("categorical", 300, "softmax", "float32"),
    ("gaussian", 33, None, "float32"),
}
TABLE = [
    pytest.param(*cell, marks=() if cell in QUICK else pytest.mark.slow)
    for likelihood, (_, activation) in LIKELIHOODS.items()
    for count in (2, 10, 33, 34, 100, 300)
    for ending in {None: 0, activation: 1}  # in this order, and once
    for dtype in ("float32", "float64")
    for cell in [(likelihood, count, ending, dtype)]
]


@pytest.mark.parametrize(("likelihood", "num_outputs", "ending", "dtype"), TABLE)
def test_every_solver_finds_the_top_eigenvalue_of_every_kind_of_net(likelihood, num_outputs, ending, dtype):
    found_in, _ = LIKELIHOODS[likelihood]
    images = pixels(dtype)
    model = net(num_outputs, ending, dtype)
    truth = expected(model, likelihood)
    for solver in NAMES:
        spectrum = kf.fisher_spectrum(model, images, 1, solver, likelihood=found_in)
        errors = np.abs(spectrum.eigenvalues[:, 0] / truth - 1)
        # What has converged is right; and on nets as plain as these nearly everything converges.
        assert errors[spectrum.converged].max(initial=0.0) < 1e-3, solver
        assert spectrum.converged.mean() > 0.6, solver
        assert spectrum.eigenvectors.dtype == dtype
        np.testing.assert_allclose(
            np.linalg.norm(spectrum.eigenvectors.reshape(3, -1), axis=-1), 1, rtol=1e-5
        )
        assert (spectrum.num_backward > 0).all()


@pytest.mark.parametrize("num_classes", [2, 33, 34, 70])
def test_a_detector_reads_every_number_of_classes(num_classes):
    model = net(num_classes, "softmax", "float32")
    generator = np.random.default_rng(1)
    clean = generator.uniform(size=(12, *SHAPE)).astype(np.float32)
    attacked = kf.attacks.FGM(0.5)(model, clean).images
    detector = kf.FisherDetector(model, num_eigenvalues=1, head="gaussian_nb").fit(clean, attacked)
    assert detector.score_samples(clean).shape == (12,)


def resident_megabytes() -> float:
    """Memory of this process at present."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="reads Linux's account of memory")
def test_memory_stays_over_three_hundred_calls_with_nets_made_and_dropped():
    images = pixels("float32")
    attacks = [
        lambda seed: kf.attacks.OSSA(0.5, seed=seed),
        lambda seed: kf.attacks.FGM(0.5 + 0.001 * seed),
        lambda seed: kf.attacks.PGD(0.5, steps=2, seed=seed),
        lambda seed: kf.attacks.DDN(steps=3, gamma=0.05 + 0.001 * seed),
        lambda seed: kf.attacks.DeepFool(steps=3, overshoot=0.02 + 0.001 * seed),
        lambda seed: kf.attacks.CarliniWagner(steps=3, binary_search_steps=1, confidence=0.01 * seed),
        lambda seed: kf.attacks.RandomNoise(0.5, seed=seed),
        lambda seed: kf.attacks.IterativeOSSA(0.5, steps=2 + seed % 3),
    ]
    after_thirty = 0.0
    classifier = None
    for call in range(300):
        if call % 10 == 0:
            classifier = kf.Classifier(net(4 + call // 10 % 3, "softmax", "float32"))
        attacks[call % len(attacks)](call)(classifier, images)
        kf.fisher_spectrum(classifier, images, 1, NAMES[call % len(NAMES)], seed=call)
        if call == 29:
            gc.collect()
            after_thirty = resident_megabytes()
    gc.collect()
    assert resident_megabytes() - after_thirty < 100
