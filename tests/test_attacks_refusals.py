"""What attacks refuse, and how they say so: settings, labels, targets, directions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: kf.attacks.FGM(epsilon=0.0),
            ValueError,
            r"`epsilon` must be a finite number in \(0, 1e\+18\]",
        ),
        (lambda: kf.attacks.FGM(epsilon=float("nan")), ValueError, "`epsilon`"),
        (lambda: kf.attacks.FGM(epsilon=1e300), ValueError, "`epsilon`"),
        (lambda: kf.attacks.FGM(epsilon=10**400), ValueError, "`epsilon`"),
        (lambda: kf.attacks.FGM(epsilon="big"), TypeError, "`epsilon` must be a real number"),
        (lambda: kf.attacks.FGM(clip=1), TypeError, "`clip`"),
        (lambda: kf.attacks.FGM(float32_loss="no"), TypeError, "`float32_loss`"),
        (lambda: kf.attacks.OSSA(solver="svd"), ValueError, "`solver`"),
        (lambda: kf.attacks.OSSA(seed=-1), ValueError, "`seed`"),
        (lambda: kf.attacks.RandomNoise(seed=0.5), TypeError, "`seed`"),
        (lambda: kf.attacks.FGM(1.0, False), TypeError, "positional"),
    ],
)
def test_bad_settings_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (np.zeros(23, int), ValueError, r"`labels` must have the shape \(24,\)"),
        (np.zeros((24, 10), int), ValueError, "not one-hot"),
        (np.zeros((24, 1), int), ValueError, r"labels\[:, 0\]"),
        (np.zeros(24), TypeError, "`labels` must be integers"),
        ([[1], [1, 2]], TypeError, "`labels` must be an array of integers"),
        (np.full(24, 10), ValueError, r"`labels` must be in \[0, 9\]"),
        (np.full(24, -1), ValueError, r"`labels` must be in \[0, 9\]"),
    ],
)
def test_bad_labels_are_refused_before_any_work(labels, error, words, classifier, images, monkeypatch):
    monkeypatch.setattr(kf.Classifier, "run", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(error, match=words):
        kf.attacks.FGM()(classifier, images, labels)


@pytest.mark.parametrize(
    ("attack", "targets", "error", "words"),
    [
        (kf.attacks.FGM(targeted=True), None, ValueError, "`targets` must be given"),
        (kf.attacks.FGM(), np.zeros(24, int), ValueError, r"FGM\(targeted=True\) seeks them"),
        (kf.attacks.OSSA(), np.zeros(24, int), ValueError, "OSSA seeks no class"),
        (kf.attacks.BIM(targeted=True), np.zeros(3, int), ValueError, r"`targets` must have the shape"),
        (kf.attacks.BIM(targeted=True), np.zeros(24), TypeError, "`targets` must be integers"),
        (kf.attacks.BIM(targeted=True), np.full(24, 10), ValueError, "`targets` must be in"),
        (kf.attacks.DDN(targeted=True), "labels", ValueError, "`targets` must differ from the labels"),
    ],
)
def test_bad_targets_are_refused_before_any_work(
    attack, targets, error, words, classifier, images, labels, monkeypatch
):
    monkeypatch.setattr(kf.Classifier, "run", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(error, match=words):
        attack(classifier, images, labels, targets=labels if isinstance(targets, str) else targets)


def test_ossa_refuses_eigenvectors_that_the_classes_do_not_have(classifier, images):
    with pytest.raises(ValueError, match="`eigenvector` must end within the 9"):
        kf.attacks.OSSA(eigenvector=8, num_eigenvectors=3)(classifier, images)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eigenvector": 2, "solver": "power"}, "`eigenvector` must end within the 1 that PowerIteration"),
        ({"eigenvector": 2, "solver": "alias_power"}, "`eigenvector` must end within the 1"),
        ({"num_eigenvectors": 2, "solver": "power"}, "`num_eigenvectors` must end within the 1"),
    ],
)
def test_ossa_refuses_a_solver_that_does_not_find_its_eigenvectors_when_it_is_made(settings, words):
    with pytest.raises(ValueError, match=words):
        kf.attacks.OSSA(**settings)


def too_long(target, images, labels, seed):
    return 24.6 * kf.attacks.unit(tf.ones_like(images))


def of_another_shape(target, images, labels, seed):
    return tf.ones([tf.shape(images)[0], 7])


def of_two(target, images, labels, seed):
    one = kf.attacks.unit(tf.ones_like(images))
    return tf.stack([one, -one], axis=1)


@dataclasses.dataclass
class Mutable:
    """A direction whose setting may change after it was compiled."""

    share: float = 1.0

    def __call__(self, target, images, labels, seed):
        return self.share * tf.ones_like(images)


@pytest.mark.parametrize("make", [kf.attacks.OneStepAttack, kf.attacks.IterativeAttack])
def test_directions_that_are_none_are_refused(make):
    classifier = kf.Classifier(testing.small_net("dense", num_classes=3, image_shape=(4, 4, 1)))
    pixels = np.random.default_rng(0).uniform(size=(3, 4, 4, 1))
    with pytest.raises(ValueError, match="`direction` must have unit l2 norm, or be zero, got norms of 24"):
        make(direction=too_long)(classifier, pixels)
    with pytest.raises(ValueError, match=r"`direction` must return \(n, 4, 4, 1\) or \(n, m, 4, 4, 1\)"):
        make(direction=of_another_shape)(classifier, pixels)
    with pytest.raises(TypeError, match="`direction` must be a function at the top level"):
        make(direction="uphill")
    share = 2.0
    for direction in (lambda *_: share, Mutable(), Mutable):
        with pytest.raises(ValueError, match="`direction` must be a function at the top level"):
            make(direction=direction)


def test_an_iterative_attack_refuses_several_directions():
    classifier = kf.Classifier(testing.small_net("dense", num_classes=3, image_shape=(4, 4, 1)))
    with pytest.raises(ValueError, match="`direction` must return one direction for an image"):
        kf.attacks.IterativeAttack(direction=of_two)(classifier, np.full((2, 4, 4, 1), 0.5))
