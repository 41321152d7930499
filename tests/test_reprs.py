"""What a result shows of itself: one line, whatever it holds."""

from __future__ import annotations

import dataclasses

import numpy as np

import keras_fisher as kf


def spectrum(eigenvalues, converged) -> kf.Spectrum:
    values = np.asarray(eigenvalues, np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    vectors = np.zeros((*values.shape, 2, 2, 1))
    return kf.Spectrum(values, vectors, 0 * values, np.asarray(converged), np.ones(len(values), int), logs)


def test_a_spectrum_shows_its_size_the_quartiles_of_the_top_eigenvalue_and_what_converged():
    found = spectrum([[4.0, 1.0], [0.0, 0.0], [1e-30, 0.0], [0.5, 0.25]], [True, True, False, True])
    expected = "Spectrum(n=4, num_eigenpairs=2, λ₁ quartiles=1e-30 / 0.5 / 4, converged=0.75)"
    assert repr(found) == expected
    assert str(found) == expected
    without = dataclasses.replace(found, eigenvectors=None)
    assert repr(without) == expected
    assert repr(spectrum(np.zeros((1, 9)), [False])).endswith("λ₁ quartiles=0 / 0 / 0, converged=0)")
    assert repr(spectrum(np.zeros((0, 9)), np.zeros(0, bool))) == "Spectrum(n=0, num_eigenpairs=9)"


def test_labelled_images_show_their_numbers():
    clean = np.random.default_rng(0).uniform(size=(300, 8, 8, 3))
    labelled = kf.detectors.LabelledImages.from_attack(clean, clean + 0.5, clean[:0])
    expected = "LabelledImages(n=600, num_adversarial=300, num_sources=300, image_shape=(8, 8, 3))"
    assert repr(labelled) == expected
    assert "num_sources=None" in repr(dataclasses.replace(labelled, sources=None))


def test_a_photo_shows_its_name_and_shape():
    photo = kf.datasets.Photo("cat/a.png", np.zeros((224, 224, 3), np.float32), 3)
    assert repr(photo) == "Photo(name='cat/a.png', image=<array (224, 224, 3)>, label=3)"


def test_an_evaluation_shows_what_was_compared():
    found = kf.detectors.Evaluation(
        cells=(),
        detectors={"fisher": "FisherDetector(…)"},
        attacks={"FGM": "FGM(…)", "BIM": "BIM(…)"},
        num_sources={"fit": 20, "test": 10},
        false_positive_rates=(0.05,),
        fit_to="successful",
        num_resamples=1000,
        seed=0,
        versions={},
    )
    assert repr(found) == (
        "Evaluation(num_cells=0, detectors=['fisher'], attacks=['FGM', 'BIM'], "
        "num_sources={'fit': 20, 'test': 10})"
    )
