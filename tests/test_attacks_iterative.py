"""Attacks of many steps: closed forms, balls and bounds, images that leave, best attempts, starts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.classifiers import class_odds
from tests.linear_models import flat, margins, softmax_regression

EPSILON = {
    "fgm": kf.attacks.FGM,
    "otcm": kf.attacks.OTCM,
    "ossa": kf.attacks.OSSA,
    "bim": kf.attacks.BIM,
    "pgd": lambda **options: kf.attacks.PGD(random_start=False, **options),
    "iterative_otcm": kf.attacks.IterativeOTCM,
    "iterative_ossa": kf.attacks.IterativeOSSA,
}
ITERATIVE = {
    "bim": kf.attacks.BIM,
    "pgd": kf.attacks.PGD,
    "iterative_otcm": kf.attacks.IterativeOTCM,
    "iterative_ossa": kf.attacks.IterativeOSSA,
}


@pytest.mark.parametrize("name", EPSILON)
def test_two_classes_every_attack_with_epsilon_meets_the_analytic_least_norm(name):
    classifier, pixels, distances = softmax_regression(2)
    expected = distances.min(axis=-1)
    steps = {} if name in ("fgm", "otcm", "ossa") else {"steps": 5}
    attack = EPSILON[name](clip=False, **steps)
    bracket = (0.0, float(1.2 * expected.max()))
    least = kf.attacks.least_perturbation(
        attack, classifier, pixels, bracket=bracket, num_scanned=12, num_refined=10
    )
    assert least.success.all()
    np.testing.assert_allclose(least.norms, expected, rtol=1e-2)


@pytest.mark.parametrize("name", ["fgm", "otcm", "bim", "pgd", "iterative_otcm"])
def test_targeted_attacks_with_epsilon_reach_the_target_at_the_analytic_distance(name):
    classifier, pixels, distances = softmax_regression(2)
    targets = distances.argmin(axis=-1)
    for factor, reached in ((0.98, False), (1.02, True)):
        for row in range(3):
            attack = EPSILON[name](epsilon=factor * distances[row].min(), targeted=True, clip=False)
            result = attack(classifier, pixels[row : row + 1], targets=targets[row : row + 1])
            assert bool(result.success[0]) == reached


@pytest.mark.parametrize("name", ITERATIVE)
def test_iterates_stay_in_the_ball_and_the_bounds_to_the_last_float(name, images):
    classifier = kf.Classifier(testing.small_net("dense"), bounds=(-0.1, 0.3))
    shrunk = (images * 0.3).astype(np.float32)
    attack = dataclasses.replace(ITERATIVE[name](epsilon=2.0, steps=8, step_size=1.0), early_stop=False)
    result = attack(classifier, shrunk)
    assert result.images.max() == np.float32(0.3)
    assert result.images.min() == np.float32(-0.1)
    assert result.norms.max() <= 2.0 * (1 + 1e-6)
    # And so they are images for the same classifier.
    classifier.predict(result.images)


@pytest.mark.parametrize("name", ["bim", "iterative_ossa"])
def test_leaving_the_batch_changes_no_result(name, classifier, sample):
    images, labels = sample[0][:40], sample[1][:40]
    attack = ITERATIVE[name](epsilon=1.5, steps=10)
    together = attack(classifier, images, labels)
    assert 0 < together.success.sum() < 40
    assert len(np.unique(together.num_iterations)) > 3
    for row in range(0, 40, 8):
        alone = attack(classifier, images[row : row + 1], labels[row : row + 1])
        np.testing.assert_allclose(alone.images[0], together.images[row], atol=1e-3)
        assert alone.num_iterations[0] == together.num_iterations[row]


def counted(target, images, labels, seed):
    """Uphill, and the number of images that it was asked for at once."""
    SIZES.append(tf.py_function(lambda number: COUNTS.append(int(number)), [tf.shape(images)[0]], []))
    directions, logits = kf.attacks.loss_ascent_direction(target, images, labels, seed)
    return directions, logits


#: What `counted` has seen: batch sizes, and the operations that say so.
COUNTS, SIZES = [], []


def test_the_cost_follows_the_images_that_are_left(lenet, sample):
    images, labels = sample[0][:64], sample[1][:64]
    classifier = kf.Classifier(lenet)
    attack = kf.attacks.IterativeAttack(epsilon=2.0, steps=20, direction=counted)
    attack(classifier, images, labels)  # Tries the direction on two images.
    COUNTS.clear()
    result = attack(classifier, images, labels)
    sizes = COUNTS[1:]
    assert sizes[0] == 64
    assert sizes == sorted(sizes, reverse=True)
    # At most one in sixteen rows has finished already.
    assert result.num_iterations.sum() <= sum(sizes) <= (result.num_iterations.sum() + 64) * 16 / 15 + 64
    COUNTS.clear()
    dataclasses.replace(attack, early_stop=False)(classifier, images, labels)
    assert COUNTS[1:] == [64] * 20


@pytest.mark.parametrize("name", ITERATIVE)
def test_an_iterative_failure_is_its_best_attempt(name, classifier, images, labels):
    result = ITERATIVE[name](epsilon=0.5, steps=5)(classifier, images, labels)
    failed = ~result.success
    assert failed.mean() > 0.7
    before, after = (margins(classifier, batch, labels) for batch in (images, result.images))
    assert (result.norms[failed] > 0).mean() > 0.9
    assert (after[failed] <= before[failed]).all()
    assert (result.num_iterations[failed] == 5).all()


def test_early_stop_false_goes_on_to_a_larger_margin(classifier, images, labels):
    quick, deep = (
        kf.attacks.BIM(epsilon=3.0, steps=10, early_stop=early)(classifier, images, labels)
        for early in (True, False)
    )
    both = quick.success & deep.success
    assert both.sum() > 15
    assert (margins(classifier, deep.images, labels) < margins(classifier, quick.images, labels) - 1)[
        both
    ].all()
    assert (deep.num_iterations == 10).all()


@pytest.mark.filterwarnings("ignore:`step_size` = 1e-09 is below")
def test_pgd_starts_are_seeded_within_the_ball_and_restarts_help(classifier, sample):
    images, labels = sample[0][:48], sample[1][:48]
    tiny = kf.attacks.PGD(epsilon=2.0, steps=1, step_size=1e-9, clip=False)
    start = tiny(classifier, images, labels).images - images
    norms = np.linalg.norm(flat(start), axis=-1)
    assert (norms <= 2.0 * (1 + 1e-6)).all()
    assert (norms > 1.8).all()  # nearly all of the volume of a ball in 784 dimensions is at its surface
    other = dataclasses.replace(tiny, seed=1)(classifier, images, labels).images - images
    cosine = np.sum(flat(start) * flat(other), axis=-1) / norms / np.linalg.norm(flat(other), axis=-1)
    assert np.abs(cosine).max() < 0.2
    one, three = (
        kf.attacks.PGD(epsilon=1.0, steps=5, restarts=number)(classifier, images, labels) for number in (1, 3)
    )
    assert (three.success >= one.success).all()
    margin_one, margin_three = (margins(classifier, result.images, labels) for result in (one, three))
    assert (margin_three <= margin_one + 1e-3).all()
    assert (margin_three < margin_one - 1e-3).any()


def test_iterative_ossa_steps_along_the_top_eigenvector_uphill(classifier, images, labels):
    attack = kf.attacks.IterativeOSSA(epsilon=0.01, steps=1, step_size=0.01, clip=False, tolerance=1e-4)
    moved = attack(classifier, images, labels).images.astype(np.float64) - images
    vectors = kf.fisher_spectrum(classifier, images, num_eigenpairs=1, solver="exact").eigenvectors[:, 0]
    right = classifier.predict(images) == labels
    norms = np.linalg.norm(flat(moved), axis=-1)
    np.testing.assert_allclose(norms[right], 0.01, rtol=1e-3)
    cosine = np.sum(flat(moved) * flat(vectors), axis=-1)[right] / norms[right]
    assert np.abs(cosine).min() > 0.999
    ends = (images, (images + moved).astype(np.float32))
    before, after = (class_odds(classifier.outputs_of(batch), labels).log_odds.numpy() for batch in ends)
    assert (after < before)[right].all()


def test_iterative_ossa_needs_no_more_iterations_than_bim(classifier, sample):
    images, labels = sample[0][:100], sample[1][:100]
    counts = {}
    for attack in (kf.attacks.BIM, kf.attacks.IterativeOSSA):
        budget = attack(epsilon=6.0, step_size=0.1, clip=False)
        curve = kf.attacks.fooling_curve(budget, classifier, images, labels, iterations=range(31))
        counts[attack] = int(np.argmax(curve.rates >= 0.9))
    assert 0 < counts[kf.attacks.IterativeOSSA] <= counts[kf.attacks.BIM]
