"""Attacks that look for the least norm: closed forms, bounds, ties, best attempts, confidence."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.attacks import unit
from tests.linear_models import margins, softmax_regression

MINIMUM_NORM = {
    "deep_fool": kf.attacks.DeepFool,
    "ddn": kf.attacks.DDN,
    "carlini_wagner": lambda **options: kf.attacks.CarliniWagner(
        **({"steps": 1000, "step_size": 0.002} | options)
    ),
    "opt": lambda **options: kf.attacks.Opt(**({"steps": 1000, "step_size": 0.0005} | options)),
}


# With more classes the gradient of the cross-entropy, which DDN and Opt follow, is a mixture of the normals:
# it does not lead to the nearest boundary, theirs is a little farther.
@pytest.mark.parametrize(
    ("name", "num_classes"),
    [*((name, 2) for name in MINIMUM_NORM), ("deep_fool", 4), ("carlini_wagner", 4)],
)
def test_minimum_norm_attacks_meet_the_analytic_least_norm(name, num_classes):
    classifier, pixels, distances = softmax_regression(num_classes)
    result = MINIMUM_NORM[name]()(classifier, pixels)
    expected = distances.min(axis=-1)
    assert result.success.all()
    assert (result.norms >= expected * (1 - 1e-3)).all()
    np.testing.assert_allclose(result.norms, expected, rtol=1e-2)


@pytest.mark.parametrize("name", ["ddn", "carlini_wagner", "opt"])
def test_targeted_minimum_norm_attacks_meet_the_analytic_distance_to_the_target(name):
    classifier, pixels, distances = softmax_regression(2)
    targets = distances.argmin(axis=-1)
    result = MINIMUM_NORM[name](targeted=True)(classifier, pixels, targets=targets)
    np.testing.assert_array_equal(result.predictions, targets)
    np.testing.assert_allclose(result.norms, distances.min(axis=-1), rtol=1e-2)


@pytest.mark.parametrize("name", MINIMUM_NORM)
def test_minimum_norm_attacks_keep_the_bounds_to_the_last_float(name, images):
    classifier = kf.Classifier(testing.small_net("dense"), bounds=(0.0, 0.7))
    shrunk = (images[:8] * 0.7).astype(np.float32)
    options = {"steps": 30, "step_size": 0.05} if name in ("carlini_wagner", "opt") else {}
    result = MINIMUM_NORM[name](**options)(classifier, shrunk)
    assert result.images.min() >= np.float32(0.0)
    assert result.images.max() <= np.float32(0.7)
    unclipped = MINIMUM_NORM[name](clip=False, **options)(classifier, shrunk)
    assert unclipped.images.min() < 0


def test_penalty_attacks_know_an_image_by_itself(classifier, sample):
    # Forty together: two may finish and stay in the batch for a while. They must not go on in their results.
    images, labels = sample[0][:40], sample[1][:40]
    attack = kf.attacks.CarliniWagner(steps=100, step_size=0.05, binary_search_steps=2)
    together = attack(classifier, images, labels)
    assert len(np.unique(together.num_iterations)) > 2
    # Those that leave together with few others.
    rows = np.argsort(together.num_iterations)[:5]
    for row in rows:
        alone = attack(classifier, images[row : row + 1], labels[row : row + 1])
        assert alone.num_iterations[0] == together.num_iterations[row]
        np.testing.assert_allclose(alone.norms[0], together.norms[row], rtol=0.02)


@pytest.mark.parametrize("name", ["deep_fool", "carlini_wagner"])
def test_a_tie_that_the_label_has_won_is_no_dead_end(name):
    model = keras.Sequential(
        [keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    )
    model.set_weights([np.array([[1.0, -1.0]])])
    classifier = kf.Classifier(model, bounds=None)
    attack = {"deep_fool": kf.attacks.DeepFool(), "carlini_wagner": kf.attacks.CarliniWagner(steps=20)}[name]
    result = attack(classifier, np.zeros((1, 1, 1, 1)), [0])
    assert result.success.all()
    assert 0 < result.norms[0] < 0.02


def test_one_step_of_adam_is_looked_at(classifier, images, labels):
    result = kf.attacks.Opt(steps=1, step_size=0.3, binary_search_steps=1)(classifier, images, labels)
    right = classifier.predict(images) == labels
    assert (result.norms[right] > 0).mean() > 0.9
    assert (result.num_iterations[right] == 1).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deep_fool", {"steps": 1, "relaxation": 0.1}),
        ("ddn", {"steps": 2, "initial_norm": 0.1}),
        ("carlini_wagner", {"steps": 3, "binary_search_steps": 1}),
        ("opt", {"steps": 2, "binary_search_steps": 1, "step_size": 1e-3}),
    ],
)
def test_a_minimum_norm_failure_is_its_best_attempt(name, options, classifier, images, labels):
    result = MINIMUM_NORM[name](**options)(classifier, images, labels)
    failed = ~result.success
    assert failed.mean() > 0.8
    before, after = (margins(classifier, batch, labels) for batch in (images, result.images))
    assert (after[failed] < before[failed]).mean() > 0.9
    assert (result.norms[failed] > 0).mean() > 0.9


def test_deep_fool_relaxation_one_is_quicker_and_one_half_nearer(classifier, sample):
    images, labels = sample[0][:60], sample[1][:60]
    quick, near = (kf.attacks.DeepFool(relaxation=share)(classifier, images, labels) for share in (1.0, 0.5))
    assert quick.success.all()
    assert near.success.all()
    assert near.mean_norm < 0.97 * quick.mean_norm
    assert quick.num_iterations.mean() < near.num_iterations.mean()


def test_confidence_is_the_margin_of_the_wrong_class(classifier, images, labels):
    attack = kf.attacks.CarliniWagner(steps=60, step_size=0.05, binary_search_steps=5, confidence=4.0)
    result = attack(classifier, images[:8], labels[:8])
    assert result.success.all()
    found = margins(classifier, result.images, labels[:8])
    assert (found <= -4.0 + 1e-3).all()
    assert (found > -7.0).mean() > 0.7  # and hardly more than asked for


def test_abort_early_saves_iterations_and_no_norm(classifier, images, labels):
    settings = {"steps": 50, "step_size": 0.05, "binary_search_steps": 5, "initial_const": 1e-3}
    early, late = (
        kf.attacks.CarliniWagner(abort_early=flag, **settings)(classifier, images, labels)
        for flag in (True, False)
    )
    at_work = classifier.predict(images) == labels
    assert (late.num_iterations[at_work] == 250).all()
    assert early.num_iterations.mean() < 240
    assert early.success.sum() >= late.success.sum()
    both = early.success & late.success
    assert early.norms[both].mean() <= 1.01 * late.norms[both].mean()


def test_unit_holds_where_squares_underflow():
    vectors = tf.constant(np.full((1, 2, 2, 1), 3e-30, np.float32))
    np.testing.assert_allclose(unit(vectors).numpy(), 0.5, rtol=1e-6)
    assert not unit(tf.zeros((1, 2, 2, 1))).numpy().any()


def test_pixels_up_to_1e25_are_attacked_as_those_up_to_one():
    # F13: lengths over norms of gradients are beyond float32 there.
    layers = [
        keras.layers.Flatten(),
        keras.layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(0)),
    ]
    head = keras.Sequential([keras.Input((4, 4, 1)), *layers])
    scaled = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Rescaling(1e-25), head])
    images = np.random.default_rng(0).uniform(0.1, 0.9, (6, 4, 4, 1)).astype(np.float32)
    for attack in (kf.attacks.DDN(steps=20), kf.attacks.CarliniWagner(steps=30, binary_search_steps=2)):
        small = attack(kf.Classifier(head), images)
        large = attack(kf.Classifier(scaled, bounds=(0.0, 1e25)), images * np.float32(1e25))
        assert np.isfinite(large.images).all()
        np.testing.assert_array_equal(large.success, small.success)
        assert large.success.any()
        np.testing.assert_allclose(large.norms, 1e25 * small.norms, rtol=1e-2)
