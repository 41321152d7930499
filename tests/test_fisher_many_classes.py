"""The Fisher spectrum of many classes: Golub–Kahan against the exact answer, the automatic choice, memory."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_fisher as kf
from keras_fisher import linalg, testing
from keras_fisher.fisher.solvers import choose_solver

CLASSES = 100


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A random net of a hundred classes, smooth, with images of which it is sure and unsure."""
    keras.utils.set_random_seed(5)
    images = keras.Input((12, 12, 3))
    hidden = keras.layers.Conv2D(12, 3, activation="gelu")(images)
    hidden = keras.layers.Flatten()(hidden)
    hidden = keras.layers.Dense(64, activation="gelu")(hidden)
    model = keras.Model(images, keras.layers.Dense(CLASSES)(hidden))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([14.0 * kernel, bias])
    return model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(24, 12, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(model, images) -> np.ndarray:
    """By another route, in float64."""
    return testing.reference_spectrum(testing.float64_copy(model), images).eigenvalues


def test_the_images_are_of_every_kind(model, images):
    probabilities = np.exp(kf.Classifier(model).log_probabilities(images)).max(axis=-1)
    assert (probabilities < 0.25).sum() >= 3
    assert ((probabilities > 0.25) & (probabilities < 0.5)).sum() >= 3
    assert (probabilities > 0.5).sum() >= 3


@pytest.mark.parametrize("count", [1, 5])
def test_golub_kahan_is_right_to_a_thousandth_within_its_bound(model, images, expected, count):
    spectrum = kf.fisher_spectrum(model, images, count, "golub_kahan")
    assert spectrum.converged.all()
    np.testing.assert_allclose(spectrum.eigenvalues, expected[:, :count], rtol=2e-3)
    errors = np.abs(spectrum.eigenvalues - expected[:, :count])
    # The bound is relative to λ₁, and has the rounding of float32 passes in it.
    assert (errors <= spectrum.residual_norms * expected[:, :1]).all()
    # One pair of an image that the net is at a loss with is believed from nine vectors on.
    assert spectrum.num_backward.max() <= (19 if count == 1 else 48)


@pytest.mark.slow  # On small factors test_linalg_blocks.py holds the two against each other.
def test_exact_is_the_same_by_columns_within_a_memory_that_holds_no_rows(model, images, expected):
    few = images[:3]
    whole = kf.fisher_spectrum(model, few, 20, "exact")
    by_columns = kf.fisher_spectrum(model, few, 20, kf.solvers.Gram(max_bytes=10_000))
    for spectrum in (whole, by_columns):
        np.testing.assert_allclose(spectrum.eigenvalues[:, :5], expected[:3, :5], rtol=1e-4)
        assert spectrum.residual_norms.max() < 1e-4
    assert (whole.num_backward == CLASSES - 1).all()
    assert (by_columns.num_backward == 2 * CLASSES + 60).all()


@pytest.mark.parametrize(
    ("pairs", "outputs", "kind"),
    [
        (1, 5, linalg.Gram),
        (1, 6, linalg.Staged),
        (1, 64, linalg.Staged),
        (1, 65, linalg.GolubKahan),
        (1, 1000, linalg.GolubKahan),
        (None, 64, linalg.Gram),
        (None, 65, linalg.GolubKahan),
        (9, 10, linalg.Gram),
        (5, 1000, linalg.GolubKahan),
        (5, 65, linalg.GolubKahan),
        # Nearly all pairs of a hundred classes are cheaper exactly.
        (60, 100, linalg.Gram),
        (20, 100, linalg.GolubKahan),
    ],
)
def test_auto_chooses_by_classes_and_pairs(pairs, outputs, kind):
    assert isinstance(choose_solver("auto", pairs, outputs), kind)


@pytest.mark.parametrize("link", ["sigmoid", "linear"])
def test_auto_is_exact_without_a_good_start(link):
    assert isinstance(choose_solver("auto", 1, 10, link), linalg.Gram)


def test_a_net_that_is_not_to_be_looked_into_has_batches_by_its_pixels(tmp_path):
    kf.models.lenet5(weights="mnist").export(tmp_path / "exported", verbose=False)
    hidden = kf.Classifier(tmp_path / "exported")
    assert 1 < hidden.default_batch_size(2000) < hidden.default_batch_size() <= 256
    # 400 times the bytes of an image: ResNet-152's size has a batch of eight.
    assert hidden._held == 400 * 28 * 28 * 4


def test_auto_goes_on_to_the_exact_answer_where_the_quick_one_has_not_settled():
    images, _ = kf.datasets.mnist_sample()
    generator = np.random.default_rng(0)
    # Of blends of three images the net is unsure.
    parts = [images[generator.permutation(len(images))] for _ in range(3)]
    both = np.concatenate([images[:100], np.mean(parts, axis=0, dtype=np.float32)])
    classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
    spectrum = kf.fisher_spectrum(classifier, both, 1)
    exact = kf.fisher_spectrum(classifier, both, 2, "exact")
    np.testing.assert_allclose(spectrum.eigenvalues[:, 0], exact.eigenvalues[:, 0], rtol=1e-3)
    assert spectrum.converged.all()
    # The quick solver takes four products; the exact one nine more.
    assert set(spectrum.num_backward) == {4, 13}
    went_on = spectrum.num_backward == 13
    assert 3 <= went_on.sum() < 900
    # Those are of two kinds: a small gap, or a net at a loss, of which the start is not to be trusted.
    top = np.exp(classifier.log_probabilities(both)).max(axis=-1)
    slow = went_on & (top > 0.25)
    gaps = 1 - exact.eigenvalues[:, 1] / exact.eigenvalues[:, 0]
    assert (top < 0.25).any()
    assert (spectrum.num_backward[top < 0.25] == 13).all()
    assert not slow.any() or np.median(gaps[slow]) < np.median(gaps[~went_on])


@pytest.mark.slow
def test_the_default_batch_keeps_activations_and_vectors_within_the_budget(model, images, monkeypatch):
    classifier = kf.Classifier(model)
    assert classifier.default_batch_size() == 256
    monkeypatch.setattr("keras_fisher.classifiers.memory.MEMORY_BUDGET", 2**20)
    small = classifier.default_batch_size()
    assert 1 < small < 256
    # Ten more vectors of 432 float64 numbers an image; and every image twice.
    with_vectors = classifier.default_batch_size(10)
    assert (
        abs(2**20 / with_vectors - 2**20 / small - 10 * 432 * 8) < 2**20 / with_vectors**2 + 2**20 / small**2
    )
    assert classifier.default_batch_size(num_copies=2) in (small // 2, small // 2 + 1)
    monkeypatch.setattr("keras_fisher.classifiers.memory.MEMORY_BUDGET", 1)
    assert classifier.default_batch_size() == 1
    # The spectrum asks for it: one image at once gives the same.
    at_once = kf.fisher_spectrum(model, images[:3], 1)
    np.testing.assert_allclose(
        kf.fisher_spectrum(classifier, images[:3], 1).eigenvalues, at_once.eigenvalues, rtol=1e-5
    )


def test_a_wider_net_has_smaller_batches(monkeypatch):
    monkeypatch.setattr("keras_fisher.classifiers.memory.MEMORY_BUDGET", 2**26)
    sizes = [kf.Classifier(kf.models.vgg(width=width)).default_batch_size() for width in (8, 64)]
    assert sizes[0] > sizes[1] >= 1


def test_the_dense_oracle_knows_many_classes(model, images, expected):
    spectrum = kf.fisher_spectrum(model, images[:2], 3, "dense")
    np.testing.assert_allclose(spectrum.eigenvalues, expected[:2, :3], rtol=1e-4)
