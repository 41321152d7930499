"""Attacks on a classifier and its detector at once: derivatives, evasion, budgets, questions, errors."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher.adaptive.detector_oracle import DetectorOracle


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The vectors (n, ...) at unit l2 norm."""
    return vectors / np.linalg.norm(vectors.reshape(len(vectors), -1), axis=1).reshape(-1, 1, 1, 1)


EPSILON = 2.0
METHOD = kf.attacks.PGD(steps=20)


class Plane:
    """A detector with a gradient: log odds = w · x + b."""

    def __init__(self, weights: np.ndarray, intercept: float, threshold: float = 0.5) -> None:
        self.weights, self.intercept, self.threshold_ = weights, intercept, threshold
        self.num_asked = 0

    def log_odds(self, images):
        return tf.reduce_sum(tf.cast(images, tf.float64) * self.weights, axis=[1, 2, 3]) + self.intercept

    def score_samples(self, images):
        self.num_asked += len(images)
        return tf.sigmoid(self.log_odds(tf.convert_to_tensor(images))).numpy()


class Scores:
    """What a black box shows of a detector."""

    def __init__(self, detector) -> None:
        self.threshold_ = detector.threshold_
        self.score_samples = detector.score_samples


@pytest.fixture(scope="module")
def digits(sample) -> tuple[np.ndarray, np.ndarray]:
    """Digits that the detectors have not seen."""
    return sample[0][500:520], sample[1][500:520]


@pytest.fixture(scope="module")
def evasion(distilled, classifier, digits) -> kf.adaptive.EvasionResult:
    return kf.adaptive.DetectorAware(distilled, EPSILON, METHOD)(classifier, *digits)


def test_adaptive_pgd_evades_a_forest_that_catches_plain_pgd(evasion, forest, classifier, digits):
    # Plain PGD in both forms: at the boundary of the classes, and as deep in the wrong class as it gets.
    for early_stop in (True, False):
        plain = kf.attacks.PGD(EPSILON, steps=25, early_stop=early_stop)(classifier, *digits)
        plain_evades = plain.success & (forest.predict(plain.images) == 0)
        assert evasion.evaded.sum() >= plain_evades.sum() + 3
    assert evasion.evasion_rate >= 0.6


def test_results_are_those_of_the_detector_and_the_classifier(evasion, forest, classifier, digits):
    labels = digits[1]
    np.testing.assert_array_equal(evasion.scores, forest.score_samples(evasion.images))
    np.testing.assert_array_equal(evasion.undetected, forest.predict(evasion.images) == 0)
    np.testing.assert_array_equal(evasion.success, classifier.predict(evasion.images) != labels)
    np.testing.assert_array_equal(evasion.evaded, evasion.success & evasion.undetected)
    assert evasion.evasion_rate == evasion.evaded.mean()
    assert evasion.undetected_rate == evasion.undetected.mean()
    assert evasion.success.any()
    # A hard image that still fools is not given up for one that merely looks clean.
    assert (evasion.success & ~evasion.undetected).any()


def test_perturbations_stay_within_the_ball_and_the_bounds(evasion, digits):
    norms = np.linalg.norm((evasion.images.astype(np.float64) - digits[0]).reshape(20, -1), axis=1)
    np.testing.assert_allclose(evasion.norms, norms)
    # The projection is rounded in float32.
    assert (norms <= EPSILON * (1 + 1e-5)).all()
    assert norms.max() > 0.9 * EPSILON
    assert evasion.images.min() >= 0
    assert evasion.images.max() <= 1


def test_the_detector_given_is_the_judge_and_not_the_stand_in(classifier, digits):
    blind = Plane(np.zeros((28, 28, 1)), -3.0)
    strict = Plane(np.zeros((28, 28, 1)), 3.0)
    images, labels = (part[:4] for part in digits)
    attack = kf.adaptive.DetectorAware(blind, 4.0, kf.attacks.PGD(steps=8))
    np.testing.assert_allclose(attack(classifier, images, labels).scores, 1 / (1 + np.exp(3.0)))
    result = dataclasses.replace(attack, detector=strict)(classifier, images, labels)
    assert result.success.all()
    assert not result.undetected.any()
    assert result.evasion_rate == 0
    np.testing.assert_allclose(result.scores, 1 / (1 + np.exp(-3.0)))
    strict.threshold_ = 0.96
    result = dataclasses.replace(attack, detector=strict)(classifier, images, labels)
    assert result.evaded.all()


def plane_against(classifier, digits, count=6):
    """A plane that flags what plain PGD does: along its mean perturbation, halfway."""
    images, labels = (part[:count] for part in digits)
    plain = kf.attacks.PGD(3.0, steps=20)(classifier, images, labels)
    assert plain.success.all()
    normal = unit_rows((plain.images - images).mean(axis=0)[None])[0]
    heights = [((part * normal).sum(axis=(1, 2, 3))) for part in (images, plain.images)]
    middle = 0.5 * (heights[0].max() + heights[1].min())
    return Plane(20 * normal, -20 * middle), images, labels, plain


@pytest.mark.parametrize("weight", [None, 1.0])
def test_both_ways_to_combine_evade_a_plane(weight, classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits)
    result = kf.adaptive.DetectorAware(plane, 4.0, weight=weight)(classifier, images, labels)
    assert result.evasion_rate == 1


def test_the_weight_of_pgd_counts(classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits)
    attack = kf.adaptive.DetectorAware(plane, 4.0, METHOD, weight=0.5)
    results = [dataclasses.replace(attack, weight=weight)(classifier, images, labels) for weight in (0.5, 5)]
    assert not np.array_equal(results[0].images, results[1].images)


def test_confidence_goes_below_the_threshold(classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits)
    attack = kf.adaptive.DetectorAware(plane, 4.0)
    sure = dataclasses.replace(attack, confidence=4.0)(classifier, images, labels)
    assert sure.evaded.all()
    np.testing.assert_array_less(sure.scores, 1 / (1 + np.exp(4.0)))
    assert (attack(classifier, images, labels).scores > 1 / (1 + np.exp(4.0))).any()


def test_the_threshold_of_the_detector_is_the_goal(classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits)
    plane.threshold_ = 0.02
    for epsilon, method, count in ((4.0, "pgd", 6), (None, "carlini_wagner", 2)):
        attack = kf.adaptive.DetectorAware(plane, epsilon, method, detector=plane)
        result = attack(classifier, images[:count], labels[:count])
        assert result.evaded.all()
        assert (result.scores < 0.02).all()


def test_the_oracle_measures_log_odds_from_the_threshold(digits):
    images = digits[0][:3]
    plane = Plane(np.full((28, 28, 1), 0.01), -1.0, threshold=0.2)
    oracle = DetectorOracle(plane, np.array([4, 5, 6]))
    expected = 0.01 * images[:2].sum(axis=(1, 2, 3)) - 1.0 - np.log(0.2 / 0.8)
    np.testing.assert_allclose(oracle.excess(np.array([4, 5]), images[:2]), expected, rtol=1e-5)
    np.testing.assert_array_equal(oracle.num_queries, [1, 1, 0])
    plane.threshold_ = float(plane.score_samples(images[2:])[0])
    # A score at the threshold is flagged.
    assert oracle.excess(np.array([6]), images[2:])[0] >= 0


@pytest.mark.slow
def test_carlini_wagner_pays_for_the_detector_with_distance(classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits)
    # No run ends early: when one does goes by the loss, which the detector's part belongs to.
    settings = kf.attacks.CarliniWagner(steps=60, step_size=0.03, binary_search_steps=4, abort_early=False)
    alone = settings(classifier, images, labels)
    attack = kf.adaptive.DetectorAware(plane, method=settings)
    both = attack(classifier, images, labels)
    assert both.evaded.all()
    # What fools the classifier alone is at least as near, but for what Adam leaves.
    assert (both.norms >= 0.98 * alone.norms).all()
    blind = Plane(np.zeros((28, 28, 1)), -3.0)
    free = dataclasses.replace(attack, target=blind)(classifier, images, labels)
    np.testing.assert_allclose(free.norms, alone.norms, rtol=1e-4)
    sure = dataclasses.replace(attack, confidence=6.0)(classifier, images, labels)
    assert sure.evaded.all()
    np.testing.assert_array_less(sure.scores, 1 / (1 + np.exp(6.0)) * 1.01)
    heavy = dataclasses.replace(attack, weight=10.0)(classifier, images, labels)
    assert not np.array_equal(heavy.images, both.images)


def test_carlini_wagner_goes_on_with_an_image_that_is_misclassified_but_detected(classifier, digits):
    images = digits[0][:3]
    wrong = (classifier.predict(images) + 1) % 10
    flagged = Plane(np.full((28, 28, 1), 1.0), -float(images.sum(axis=(1, 2, 3)).min()) + 1.0)
    settings = kf.attacks.CarliniWagner(steps=60, step_size=0.05, binary_search_steps=5)
    result = kf.adaptive.DetectorAware(flagged, method=settings)(classifier, images, wrong)
    assert result.evaded.any()
    assert (result.norms > 0).all()


def test_carlini_wagner_meets_the_exact_distance_to_a_plane(classifier):
    """A net that always errs, so that the least norm is the distance to the detector's plane."""
    images = np.full((3, 28, 28, 1), 0.5, np.float32)
    wrong = (classifier.predict(images) + 1) % 10
    normal = unit_rows(np.random.default_rng(0).normal(size=(1, 28, 28, 1)))[0]
    distance = 0.3
    plane = Plane(10 * normal, -10 * (float((images[0] * normal).sum()) - distance))
    settings = kf.attacks.CarliniWagner(steps=200, step_size=0.002, binary_search_steps=8)
    result = kf.adaptive.DetectorAware(plane, method=settings)(classifier, images, wrong)
    assert result.evaded.all()
    assert (result.norms >= distance * (1 - 1e-5)).all()
    np.testing.assert_allclose(result.norms, distance, rtol=2e-2)


def test_targets_are_reached_undetected(classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits)
    targets = kf.attacks.random_targets(labels, 10)
    attack = kf.adaptive.DetectorAware(plane, 6.0, targeted=True)
    result = attack(classifier, images, labels, targets=targets)
    np.testing.assert_array_equal(result.success, result.predictions == targets)
    assert result.evasion_rate > 0.8


def test_score_gradients_are_those_of_a_plane_and_every_question_is_counted(classifier, digits):
    images = digits[0][:2] * 0.5 + 0.25
    weights = np.random.default_rng(0).normal(size=(28, 28, 1))
    plane = Plane(1e-2 * weights, 0.0)
    oracle = DetectorOracle(plane, np.arange(2))
    guide = kf.adaptive.ScoreGradient(plane, num_pairs=3000, smoothing=0.02)
    found = guide.downhill(classifier.bounds, oracle, np.arange(2), tf.constant(images), 0).numpy()
    # The mean of m gradients along random directions has a cosine of √(m / (m + d + 1)) with the gradient.
    cosines = -(found * unit_rows(weights[None])).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(cosines, np.sqrt(3000 / (3000 + 785)), atol=0.05)
    np.testing.assert_array_equal(oracle.num_queries, [6000, 6000])
    assert plane.num_asked == 12000


def test_a_black_box_asks_as_often_as_it_says(classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits, 3)
    asked = []
    box = Scores(plane)
    box.score_samples = lambda images: asked.append(len(images)) or plane.score_samples(images)
    guide = kf.adaptive.ScoreGradient(box, num_pairs=7)
    method = kf.attacks.PGD(steps=6, early_stop=False)
    result = kf.adaptive.DetectorAware(guide, 4.0, method)(classifier, images, labels)
    assert result.num_queries.sum() == sum(asked) - len(images)  # the last questions are the verdict
    assert result.num_queries.max() > 2 * 7


def test_a_detector_is_attacked_through_its_scores_alone(forest, classifier, digits):
    images, labels = (part[:16] for part in digits)
    box = Scores(forest)
    guide = kf.adaptive.ScoreGradient(box, num_pairs=8, smoothing=0.1)
    result = kf.adaptive.DetectorAware(guide, 2.5, METHOD)(classifier, images, labels)
    plain = kf.attacks.PGD(2.5, steps=25)(classifier, images, labels)
    plain_evades = plain.success & (forest.predict(plain.images) == 0)
    assert result.evaded.sum() > plain_evades.sum()
    default = kf.adaptive.DetectorAware(box, 2.5, kf.attacks.PGD(steps=2))(classifier, images[:1], labels[:1])
    assert isinstance(default, kf.adaptive.EvasionResult)


def test_seeds_repeat_and_matter(classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits, 3)
    # Where float64 rounds a score to 1 there is nothing to be learnt from it.
    plane = Plane(0.1 * plane.weights, 0.1 * plane.intercept)
    method = kf.attacks.PGD(steps=8, random_start=False, early_stop=False)

    def attacked(seed):
        guide = kf.adaptive.ScoreGradient(Scores(plane), num_pairs=100, seed=seed)
        return kf.adaptive.DetectorAware(guide, 4.0, method)(classifier, images, labels).images

    np.testing.assert_array_equal(attacked(1), attacked(1))
    assert not np.array_equal(attacked(1), attacked(2))


@pytest.mark.parametrize("method", ["pgd", "carlini_wagner", "black_box"])
def test_batches_do_not_matter(method, classifier, digits):
    plane, images, labels, _ = plane_against(classifier, digits, 5)
    attack = {
        "pgd": kf.adaptive.DetectorAware(plane, 4.0, kf.attacks.PGD(steps=10)),
        "carlini_wagner": kf.adaptive.DetectorAware(
            plane, method=kf.attacks.CarliniWagner(steps=20, step_size=0.02, binary_search_steps=2)
        ),
        "black_box": kf.adaptive.DetectorAware(
            kf.adaptive.ScoreGradient(Scores(plane), num_pairs=60), 4.0, kf.attacks.PGD(steps=10)
        ),
    }[method]
    whole, parts = (attack(classifier, images, labels, batch_size=size) for size in (5, 2))
    # float32 gradients of 25 steps: another batch sums in another order.
    np.testing.assert_allclose(whole.images, parts.images, atol=2e-3)
    np.testing.assert_array_equal(whole.num_queries, parts.num_queries)
    np.testing.assert_allclose(whole.scores, parts.scores, atol=5e-2)


def test_one_program_serves_all_batches_and_epsilons(distilled, classifier, digits):
    images, labels = (part[:3] for part in digits)
    kf.adaptive.DetectorAware(distilled, 4.0, kf.attacks.PGD(steps=4))(classifier, images, labels)
    kept = [classifier._compiled._compiled, distilled.programs._compiled]
    before = [len(programs) for programs in kept]
    assert min(before) > 0
    for epsilon, seed in ((3.5, 0), (3.0, 1)):
        method = kf.attacks.PGD(steps=5, seed=seed)
        kf.adaptive.DetectorAware(distilled, epsilon, method)(classifier, images[:2], labels[:2])
    assert [len(programs) for programs in kept] == before


@pytest.mark.parametrize("method", ["pgd", "carlini_wagner"])
def test_stand_ins_and_detectors_go_when_they_are_dropped(method, classifier, digits):
    images, labels = (part[:2] for part in digits)
    settings = kf.attacks.PGD(steps=2)
    if method == "carlini_wagner":
        settings = kf.attacks.CarliniWagner(steps=2, binary_search_steps=1)
    plane = Plane(np.full((28, 28, 1), 0.01), 0.0)
    kf.adaptive.DetectorAware(plane, method=settings)(classifier, images, labels)
    watched = weakref.ref(plane)
    del plane
    gc.collect()
    assert watched() is None


def test_bad_settings_are_refused_in_the_house_wording(classifier, forest, distilled):
    attack, plane = kf.adaptive.DetectorAware, Plane(np.zeros((28, 28, 1)), 0.0)
    unfitted = kf.FisherDetector(classifier)
    cases = [
        (TypeError, "`target` must give scores of images, got 3", lambda: attack(3)),
        (TypeError, "`target` must give scores of images", lambda: attack(Plane)),
        (ValueError, "`target` must be fitted, got one without a threshold_", lambda: attack(unfitted)),
        (TypeError, "`detector` must give scores of images", lambda: attack(plane, detector="forest")),
        (ValueError, "`epsilon` must be a finite number in (0, 1e+18]", lambda: attack(plane, 0.0)),
        (
            ValueError,
            "`epsilon` must be None for CarliniWagner, got 2.0",
            lambda: attack(plane, 2.0, "carlini_wagner"),
        ),
        (ValueError, "`method` must be one of 'pgd', 'carlini_wagner'", lambda: attack(plane, method="fgm")),
        (TypeError, "`method` must be one of", lambda: attack(plane, method=kf.attacks.PGD)),
        (TypeError, "`method` must be one of", lambda: attack(plane, method=kf.attacks.BIM())),
        (ValueError, "`target` must be a surrogate", lambda: attack(forest, method="carlini_wagner")),
        (ValueError, "`weight` must be a finite number above 0", lambda: attack(plane, weight=0)),
        (
            ValueError,
            "`confidence` must be a finite number of at least 0",
            lambda: attack(plane, confidence=-1),
        ),
        (
            ValueError,
            "`clip` must be that of `method`, False, got True",
            lambda: attack(plane, method=kf.attacks.PGD(clip=False)),
        ),
        (
            ValueError,
            "`targeted` must be that of `method`, True, got False",
            lambda: attack(plane, method=kf.attacks.PGD(targeted=True)),
        ),
        (ValueError, "`num_pairs` must be at least 1", lambda: kf.adaptive.ScoreGradient(plane, num_pairs=0)),
        (
            ValueError,
            "`smoothing` must be a finite number above 0",
            lambda: kf.adaptive.ScoreGradient(plane, smoothing=0),
        ),
        (ValueError, "`seed` must be at least 0", lambda: kf.adaptive.ScoreGradient(plane, seed=-1)),
    ]
    for error, text, make in cases:
        with pytest.raises(error) as caught:
            make()
        assert text in str(caught.value)


@pytest.mark.slow
def test_carlini_wagner_gets_past_a_forest_whose_objection_is_strongest_at_the_boundary(
    distilled, forest, classifier, digits
):
    settings = kf.attacks.CarliniWagner(steps=60, step_size=0.05, binary_search_steps=4)
    result = kf.adaptive.DetectorAware(distilled, method=settings, confidence=1.0)(classifier, *digits)
    assert result.success_rate >= 0.9
    assert result.evasion_rate >= 0.5
    np.testing.assert_array_equal(result.scores, forest.score_samples(result.images))
