"""Stand-ins for detectors: derivatives, agreement with the detector, the choice among them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.adaptive.detector_oracle import log_odds_gradient
from keras_fisher.detectors import LabelledImages
from keras_fisher.detectors.surrogates import (
    DistilledSurrogate,
    ExactSurrogate,
    NaiveBayesSurrogate,
    surrogate_of,
)

HEADS = {
    "gaussian_nb": "gaussian_nb",
    "logistic": LogisticRegression(max_iter=2000),
    "scaled_logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
}


@pytest.fixture(scope="module")
def bayes(classifier, labelled) -> kf.FisherDetector:
    return kf.FisherDetector(classifier, num_eigenvalues=9, head="gaussian_nb").fit_labelled(labelled)


@pytest.fixture(scope="module")
def smooth() -> tuple[kf.Classifier, LabelledImages]:
    """A smooth net in float64 that is not sure of anything, and images of two kinds."""
    inputs = keras.Input((6, 6, 1))
    hidden = keras.layers.Conv2D(4, 3, activation="tanh")(inputs)
    hidden = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(hidden))
    model = keras.Model(inputs, keras.layers.Dense(4)(hidden))
    generator = np.random.default_rng(0)
    model.set_weights([0.7 * generator.normal(size=weight.shape) for weight in model.get_weights()])
    clean = generator.uniform(0.2, 0.8, size=(40, 6, 6, 1))
    adversarial = np.clip(clean + 0.3 * np.sign(generator.normal(size=(40, 1, 1, 1))), 0, 1)
    return kf.Classifier(testing.float64_copy(model)), LabelledImages.from_attack(
        clean, adversarial, clean[:0]
    )


def make_surrogate(kind: str, classifier: kf.Classifier, labelled: LabelledImages, **options):
    head = HEADS.get(kind, "random_forest")
    detector = kf.FisherDetector(classifier, head=head, **options).fit_labelled(labelled)
    if kind == "distilled":
        return DistilledSurrogate(detector, labelled, num_steps=100)
    return surrogate_of(detector, labelled, kind if kind == "naive_bayes" else "exact")


@pytest.mark.parametrize(
    ("kind", "features"),
    [
        ("gaussian_nb", "paper"),
        ("scaled_logistic", "paper"),
        ("distilled", "paper"),
        # The same layers, on the same or more features.
        pytest.param("logistic", "paper", marks=pytest.mark.slow),
        pytest.param("naive_bayes", "paper", marks=pytest.mark.slow),
        pytest.param("gaussian_nb", "extended", marks=pytest.mark.slow),
    ],
)
def test_the_gradient_of_the_log_odds_is_that_of_central_differences(kind, features, smooth):
    classifier, labelled = smooth
    surrogate = make_surrogate(kind, classifier, labelled, num_eigenvalues=5, features=features)
    images = labelled.images[:3]
    _, gradient = tf.function(lambda x: log_odds_gradient(surrogate, x))(tf.constant(images))
    along = np.random.default_rng(1).normal(size=images.shape)
    log_odds = tf.function(surrogate.log_odds)
    step = 1e-5
    above, below = (log_odds(tf.constant(images + sign * step * along)).numpy() for sign in (1, -1))
    # Central differences: step² ≈ 1e-10 of truncation, and rounding of 1e-16 · |log odds| / step.
    rounding = 1e-15 * (1 + np.abs(above).max()) / step
    expected = (above - below) / (2 * step)
    found = (gradient.numpy() * along).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=10 * rounding)
    assert (np.abs(expected) > 100 * rounding).all()


@pytest.mark.parametrize(
    ("solver", "features", "count"),
    [
        pytest.param("exact", "extended", 9, marks=pytest.mark.slow),
        ("lanczos", "paper", 1),
    ],
)
def test_stand_ins_read_what_the_detector_reads(solver, features, count, classifier, labelled, images):
    options = {"solver": solver, "features": features, "num_eigenvalues": count, "head": "gaussian_nb"}
    detector = kf.FisherDetector(classifier, **options).fit_labelled(labelled)
    surrogate = ExactSurrogate(detector)
    expected = surrogate.layer.log_odds(detector.features_of(images)).numpy()
    found = tf.function(surrogate.log_odds)(tf.constant(images)).numpy()
    # Another program sums float32 in another order, and the smallest eigenvalues amplify that; the odds are
    # sums of squares of deviations.
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_gradients_are_finite_on_a_trained_net(distilled, bayes, images):
    for surrogate in (distilled, ExactSurrogate(bayes)):
        with tf.GradientTape() as tape:
            tensor = tf.constant(images)
            tape.watch(tensor)
            log_odds = surrogate.log_odds(tensor)
        gradient = tape.gradient(log_odds, tensor).numpy()
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


def test_the_distilled_stand_in_follows_the_forest_and_not_the_labels(forest, distilled, labelled):
    images = tf.constant(labelled.images)
    log_odds = distilled.log_odds(images).numpy()
    scores = forest.score_samples(labelled.images)
    assert np.abs(1 / (1 + np.exp(-log_odds)) - scores).mean() < 0.1
    # Two thirds would agree by chance.
    assert ((log_odds >= 0) == (scores >= 0.5)).mean() > 0.85
    flipped = LabelledImages(labelled.images, ~labelled.is_adversarial, labelled.sources)
    np.testing.assert_array_equal(DistilledSurrogate(forest, flipped).log_odds(images), log_odds)


@pytest.mark.slow
def test_distillation_repeats_by_seed(forest, labelled, images):
    def log_odds(**options):
        surrogate = DistilledSurrogate(forest, labelled, **({"num_steps": 40} | options))
        return surrogate.log_odds(tf.constant(images)).numpy()

    once = log_odds(seed=3)
    np.testing.assert_array_equal(once, log_odds(seed=3))
    assert not np.allclose(once, log_odds(seed=4))
    assert not np.allclose(once, log_odds(seed=3, num_steps=60))


def test_the_kind_of_a_stand_in_is_chosen_by_the_head(bayes, forest, distilled, labelled):
    assert type(surrogate_of(bayes)) is ExactSurrogate
    assert type(distilled) is DistilledSurrogate
    assert type(surrogate_of(forest, labelled, "naive_bayes")) is NaiveBayesSurrogate
    assert distilled.detector is forest


def test_stand_ins_need_images_of_both_kinds(forest, labelled):
    clean = labelled.select(~labelled.is_adversarial)
    for kind in ("naive_bayes", "distilled"):
        with pytest.raises(ValueError, match="`labelled` must hold images of both kinds, got 0 adversarial"):
            surrogate_of(forest, clean, kind)


def test_distilled_stand_in_reaches_below_a_low_threshold(classifier, labelled, sample):
    # Surer of itself than so small a forest.
    detector = kf.FisherDetector(classifier, num_eigenvalues=9, head="gaussian_nb").fit_labelled(labelled)
    features = detector.features_of(sample[0][200:320])
    assert detector.score_features(features).min() < 0.001
    usual = DistilledSurrogate(detector, labelled, num_steps=300).log_odds_of(tf.constant(features)).numpy()
    detector.threshold_ = 0.01
    deep = DistilledSurrogate(detector, labelled, num_steps=300).log_odds_of(tf.constant(features)).numpy()
    assert usual.min() > -8
    assert deep.min() < usual.min() - 1
    assert deep.min() < np.log(0.01) - 2


def test_what_has_no_stand_in_is_refused(classifier, forest):
    plane, unfitted = object(), kf.FisherDetector(classifier)
    cases = [
        (ValueError, "`kind` must be one of", lambda: surrogate_of(forest, kind="forest")),
        (ValueError, "`labelled` must be given for a 'distilled' stand-in", lambda: surrogate_of(forest)),
        (TypeError, "`labelled` must be LabelledImages, got int", lambda: surrogate_of(forest, 3)),
        (TypeError, "`detector` must be a FeatureDetector", lambda: surrogate_of(plane)),
        (ValueError, "`detector` must be fitted", lambda: surrogate_of(unfitted)),
        (
            TypeError,
            "`detector` must have a GaussianNB or LogisticRegression",
            lambda: ExactSurrogate(forest),
        ),
    ]
    for error, text, make in cases:
        with pytest.raises(error) as caught:
            make()
        assert text in str(caught.value)
