"""The evaluation of detectors: sides, thresholds, subsets, worst case, features computed once, files."""

from __future__ import annotations

import collections
import functools
import json
import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.naive_bayes import GaussianNB

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.attacks import AttackResult
from keras_fisher.detectors import matched_noise
from keras_fisher.detectors.evaluation import Cell, Evaluation, FeatureCache, evaluate, split_sources
from keras_fisher.detectors.evaluation.arguments import describe
from keras_fisher.detectors.evaluation.calibrated_detector import CalibratedDetector
from keras_fisher.detectors.evaluation.measure import measure
from keras_fisher.detectors.evaluation.roc_figure import draw_roc_figure
from keras_fisher.detectors.evaluation.roc_points import roc_points
from keras_fisher.detectors.evaluation.source_scores import SourceScores
from keras_fisher.detectors.surrogates import surrogate_of

SHAPE = (4, 4, 1)
NUM_IMAGES = 60
RATES = (0.05, 0.1, 0.25)


class Head(ClassifierMixin, BaseEstimator):
    """Answers with the first feature as it is, and keeps what it was fitted to and asked about."""

    fitted: list = []  # noqa: RUF012
    asked: list = []  # noqa: RUF012

    def fit(self, features, is_adversarial):
        self.fitted.append((features, is_adversarial))
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, features):
        self.asked.append(features)
        return np.stack([1 - features[:, 0], features[:, 0]], axis=1)


class Signal(kf.detectors.Detector):
    """Its features are the last pixel, and the first, which numbers the images."""

    asked: collections.Counter = collections.Counter()  # noqa: RUF012

    def features_of(self, images):
        self.asked.update(image.tobytes() for image in images)
        return np.stack([images[:, 3, 3, 0], images[:, 0, 0, 0]], axis=1).astype(np.float64)


class Push:
    """An attack that adds to the last pixel, and says that it had success on the images it is told."""

    def __init__(self, delta, fails_on=lambda number: number % 3 == 0):
        self.delta, self.fails_on, self.num_calls = delta, fails_on, 0

    def __call__(self, classifier, images, labels):
        self.num_calls += 1
        return self.result(images)

    def result(self, images):
        images, number = images.copy(), numbers_of(images)
        images[:, 3, 3, 0] += np.broadcast_to(self.delta, NUM_IMAGES)[number].astype(np.float32)
        zeros = np.zeros(len(images), np.int64)
        return AttackResult(images, ~self.fails_on(number), zeros * 1.0, zeros, zeros)


def numbers_of(images_or_features):
    first = images_or_features[:, 0, 0, 0] if images_or_features.ndim == 4 else images_or_features[:, 1]
    return np.round(first * 64).astype(int)


def last_pixel(images):
    return images[:, 3, 3, 0].astype(np.float64)


@pytest.fixture(scope="module")
def small():
    """A classifier of 4 × 4 pixels in [0, 1]."""
    return kf.Classifier(testing.small_net("dense", num_classes=3, image_shape=SHAPE))


@pytest.fixture(scope="module")
def clean():
    """Image i has i / 64 in its first pixel, and anything in its last."""
    images = np.full((NUM_IMAGES, *SHAPE), 0.5, np.float32)
    images[:, 0, 0, 0] = np.arange(NUM_IMAGES) / 64
    images[:, 3, 3, 0] = np.random.default_rng(0).uniform(0.2, 0.5, NUM_IMAGES)
    return images


@pytest.fixture(scope="module")
def labels(small, clean):
    """Right, but for images 7 and 30."""
    labels = small.predict(clean)
    labels[[7, 30]] = (labels[[7, 30]] + 1) % 3
    return labels


@pytest.fixture
def signal(small):
    Head.fitted, Head.asked, Signal.asked = [], [], collections.Counter()
    return {"signal": Signal(small, Head())}


@pytest.fixture
def attacks():
    """Three whose strength differs from image to image, so that none is the worst for all."""
    deltas = np.random.default_rng(1).uniform(0.02, 0.3, (3, NUM_IMAGES))
    return {
        "one": Push(deltas[0]),
        "two": Push(deltas[1], lambda number: number % 4 == 1),
        "three": Push(deltas[2], lambda number: number < 50),
    }


run = functools.partial(evaluate, false_positive_rates=RATES, num_resamples=20)


class Oracle:
    """The same once more, by loops over sources."""

    def __init__(self, small, clean, labels, attacks, seed=0):
        kept = clean[small.predict(clean) == labels]
        self.split = split_sources(len(kept), seed=seed)
        self.clean = last_pixel(kept)
        self.adversarial, self.noisy, self.success = {}, {}, {}
        for name, attack in attacks.items():
            result = attack.result(kept)
            norms = np.abs(last_pixel(result.images) - self.clean)
            self.adversarial[name] = last_pixel(result.images)
            self.noisy[name] = last_pixel(matched_noise(small, kept, norms, seed))
            self.success[name] = result.success

    def threshold(self, name, rate):
        negatives = [*self.clean[self.split.calibration], *self.noisy[name][self.split.calibration]]
        # Only just above a score does the number of those flagged fall.
        candidates = [float(np.nextafter(np.float64(score), 2)) for score in sorted(negatives)]
        return next(c for c in candidates if np.mean(np.array(negatives) >= c) <= rate + 1e-12)

    def check(self, cell, positives, negatives):
        labels = [1] * len(positives) + [0] * len(negatives)
        # Sums of halves over their number, float64.
        assert cell.auc == pytest.approx(roc_auc_score(labels, [*positives, *negatives]), abs=1e-12)
        assert cell.interval[0] <= cell.auc <= cell.interval[1]
        for rate in RATES:
            threshold = self.threshold(cell.trained_on, rate)
            assert cell.thresholds[rate] == threshold
            assert cell.tpr[rate] == pytest.approx(np.mean(np.array(positives) >= threshold))
            assert cell.fpr[rate] == pytest.approx(np.mean(np.array(negatives) >= threshold))


# Sides


def test_no_source_is_on_two_sides(signal, clean, labels):
    # So small a perturbation that noise as long does not change an image's number.
    run(signal, {"push": Push(0.004, lambda number: number < 0)}, clean, labels)
    (fit, _), (calibration, test) = Head.fitted[0], (Head.asked[:2], Head.asked[2:])
    sides = [
        {*numbers_of(fit)},
        {*numbers_of(np.concatenate(calibration))},
        {*numbers_of(np.concatenate(test))},
    ]
    assert [len(side) for side in sides] == [23, 12, 23]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    # The two that the classifier gets wrong are on none.
    assert set.union(*sides) == {*range(NUM_IMAGES)} - {7, 30}


def test_sides_are_counted(signal, clean, labels):
    evaluation = run(signal, {"push": Push(0.1)}, clean, labels, fractions=(0.5, 0.25, 0.25))
    # 58 sources at 29 and 43.5, to even.
    expected = {"given": 60, "misclassified": 2, "fit": 29, "calibration": 15, "test": 14}
    assert evaluation.num_sources == expected


def test_split_is_a_random_partition_that_follows_the_seed():
    split = split_sources(100, (0.5, 0.2, 0.3), seed=3)
    parts = [split.fit, split.calibration, split.test]
    assert [len(part) for part in parts] == [50, 20, 30]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(100))
    # Not the first half: of 50 drawn, about 25 are.
    assert 10 < (split.fit < 50).sum() < 40
    np.testing.assert_array_equal(split.fit, split_sources(100, (0.5, 0.2, 0.3), seed=3).fit)
    assert np.any(split.fit != split_sources(100, (0.5, 0.2, 0.3), seed=4).fit)


def test_heads_are_fitted_to_successes_with_clean_and_noise(signal, clean, labels, attacks, small):
    evaluation = run(signal, attacks, clean, labels, train_attacks=["two"])
    ((features, is_adversarial),) = Head.fitted
    oracle = Oracle(small, clean, labels, attacks)
    kept = oracle.split.fit[oracle.success["two"][oracle.split.fit]]
    expected = [oracle.clean[kept], oracle.noisy["two"][kept], oracle.adversarial["two"][kept]]
    np.testing.assert_array_equal(features[:, 0], np.concatenate(expected))
    np.testing.assert_array_equal(is_adversarial, np.repeat([0, 0, 1], len(kept)))
    assert evaluation.cells[0].num_fit == len(kept) < len(oracle.split.fit)


def test_heads_are_fitted_to_failures_too_where_asked(signal, clean, labels):
    deltas = np.where(np.arange(NUM_IMAGES) % 3, 0.2, 0.0)
    push = {"push": Push(deltas, lambda number: number % 4 == 1)}
    evaluation = run(signal, push, clean, labels, fit_to="all")
    (features, is_adversarial), *_ = Head.fitted
    fitted = numbers_of(features[is_adversarial == 1])
    assert evaluation.fit_to == "all"
    assert evaluation.cells[0].num_fit == len(fitted)
    # Those that did not move, every third, are left out all the same.
    assert (fitted % 3 > 0).all()
    assert (fitted % 4 != 1).any()
    assert len(fitted) > 0.5 * evaluation.num_sources["fit"]


def test_mixture_is_fitted_to_and_calibrated_on_all_of_its_attacks(signal, clean, labels, attacks, small):
    evaluation = run(signal, attacks, clean, labels, train_attacks=[("two", "three"), "one"])
    oracle = Oracle(small, clean, labels, attacks)
    (features, is_adversarial), _ = Head.fitted
    kept = {name: oracle.split.fit[oracle.success[name][oracle.split.fit]] for name in ("two", "three")}
    expected = [oracle.clean[kept["two"]], oracle.clean[kept["three"]]]
    expected += [oracle.noisy[name][rows] for name, rows in kept.items()]
    expected += [oracle.adversarial[name][rows] for name, rows in kept.items()]
    np.testing.assert_array_equal(features[:, 0], np.concatenate(expected))
    assert is_adversarial.sum() == len(kept["two"]) + len(kept["three"])
    cell = evaluation.cell(detector="signal", trained_on=("two", "three"), attack="one")
    assert cell.trained_on == "two + three"
    assert cell.num_fit == is_adversarial.sum()
    side = oracle.split.calibration
    negatives = np.concatenate([oracle.clean[side]] * 2 + [oracle.noisy[name][side] for name in kept])
    for rate in RATES:
        assert np.mean(negatives >= cell.thresholds[rate]) <= rate
        assert np.mean(negatives >= np.nextafter(cell.thresholds[rate], 0)) > rate


def test_same_head_as_a_detector_fitted_by_hand(small, clean, labels, attacks):
    given = {"bayes": Signal(small, GaussianNB()), "forest": Signal(small)}
    evaluation = run(given, attacks, clean, labels, train_attacks=["one"])
    sources = clean[small.predict(clean) == labels]
    split = split_sources(len(sources))
    result = attacks["one"].result(sources)
    norms = np.abs(result.images.astype(float) - sources)[:, 3, 3, 0]
    noisy = matched_noise(small, sources, norms)
    kept = split.fit[result.success[split.fit]]
    tested = split.test[result.success[split.test]]
    for name, detector in given.items():
        assert not hasattr(detector, "head_")
        detector.fit(sources[kept], result.images[kept], noisy[kept])
        scores = [detector.score_samples(images[tested]) for images in (result.images, sources, noisy)]
        cell = evaluation.cell(detector=name, trained_on="one", attack="one")
        expected = roc_auc_score([1] * len(tested) + [0] * 2 * len(tested), np.concatenate(scores))
        assert cell.auc == pytest.approx(expected, abs=1e-12)


# Numbers


def test_every_attack_on_every_training_attack_successful_and_all(signal, clean, labels, attacks, small):
    evaluation = run(signal, attacks, clean, labels, seed=3)
    oracle = Oracle(small, clean, labels, attacks, seed=3)
    test = oracle.split.test
    assert len(evaluation.cells) == 3 * (3 * 2 + 1)
    for trained_on in attacks:
        for attack in attacks:
            success = oracle.success[attack][test]
            for subset, rows in (("successful", test[success]), ("all", test)):
                cell = evaluation.cell(detector="signal", trained_on=trained_on, attack=attack, subset=subset)
                positives = oracle.adversarial[attack][rows]
                oracle.check(cell, positives, [*oracle.clean[rows], *oracle.noisy[attack][rows]])
                assert (cell.num_sources, cell.num_successful) == (len(rows), success.sum())
                for rate in RATES:
                    missed = success & (oracle.adversarial[attack][test] < cell.thresholds[rate])
                    assert cell.evasion[rate] == pytest.approx(missed.sum() / len(test))


def test_thresholds_are_not_those_of_the_test_side(signal, clean, labels, attacks, small):
    evaluation = run(signal, attacks, clean, labels)
    oracle = Oracle(small, clean, labels, attacks)
    negatives = {
        side: np.concatenate([oracle.clean[rows], oracle.noisy["one"][rows]])
        for side, rows in vars(oracle.split).items()
    }
    cell = evaluation.cell(detector="signal", trained_on="one", attack="one", subset="all")
    for rate in RATES:
        share = {side: np.mean(scores >= cell.thresholds[rate]) for side, scores in negatives.items()}
        # As many as allowed: of 24 images, 1, 2 and 6.
        assert share["calibration"] == math.floor(24 * rate + 1e-9) / 24
        assert share["test"] == pytest.approx(cell.fpr[rate])
    assert any(cell.fpr[rate] != math.floor(46 * rate) / 46 for rate in RATES)


def test_worst_case_is_the_least_score_of_successful_attacks(signal, clean, labels, attacks, small):
    evaluation = run(signal, attacks, clean, labels)
    oracle = Oracle(small, clean, labels, attacks)
    positives, negatives, chosen = [], [], set()
    for source in oracle.split.test:
        able = [name for name in attacks if oracle.success[name][source]]
        if able:
            worst = min(able, key=lambda name: oracle.adversarial[name][source])
            positives.append(oracle.adversarial[worst][source])
            negatives += [oracle.clean[source], oracle.noisy[worst][source]]
            chosen.add(worst)
    assert chosen == {*attacks}
    assert len(positives) < len(oracle.split.test)
    for trained_on in attacks:
        cell = evaluation.cell(detector="signal", trained_on=trained_on, subset="worst_case")
        oracle.check(cell, positives, negatives)
        assert cell.num_sources == cell.num_successful == len(positives)
        for rate in RATES:
            missed = (np.array(positives) < cell.thresholds[rate]).sum()
            assert cell.evasion[rate] == pytest.approx(missed / len(oracle.split.test))


def test_a_score_at_the_threshold_is_flagged_and_the_interval_is_over_sources(signal):
    generator = np.random.default_rng(8)
    clean = generator.uniform(size=12).round(1)
    # The versions of a source resemble each other.
    versions = [(clean + shift * generator.uniform(size=12)).round(1) for shift in (0.4, 0.2)]
    scores = SourceScores(versions[0], clean, versions[1], np.arange(12) % 2 == 0)
    given = signal["signal"]
    calibrated = CalibratedDetector(given, FeatureCache(), given, 9, {0.1: 0.5, 0.2: float("nan")})
    fields = measure(calibrated, scores, num_tested=30, num_resamples=50, seed=5)
    assert (versions[0] == 0.5).any()
    assert (clean == 0.5).any() or (versions[1] == 0.5).any()
    assert fields["tpr"][0.1] == np.mean(versions[0] >= 0.5)
    assert fields["fpr"][0.1] == np.mean([clean >= 0.5, versions[1] >= 0.5])
    assert fields["evasion"][0.1] == sum(versions[0][::2] < 0.5) / 30
    everything = np.concatenate([versions[0], clean, versions[1]])
    is_adversarial = np.arange(36) < 12
    of_sources, of_images = (
        kf.detectors.bootstrap_auc(is_adversarial, everything, sources, num_resamples=50, seed=5)
        for sources in (np.tile(np.arange(12), 3), np.arange(36))
    )
    assert (fields["auc"], fields["interval"]) == of_sources != of_images


def test_an_image_that_did_not_move_is_no_success(signal, clean, labels):
    deltas = np.where(np.arange(NUM_IMAGES) % 2, 0.2, 0.0)
    evaluation = run(signal, {"push": Push(deltas, lambda number: number < 0)}, clean, labels)
    cell = evaluation.cell(detector="signal", trained_on="push", attack="push", subset="all")
    assert 0 < cell.num_successful < cell.num_sources == 23
    (features, is_adversarial), *_ = Head.fitted
    assert (numbers_of(features[is_adversarial == 1]) % 2 == 1).all()


def test_too_few_successes_are_not_available_and_no_crash(signal, clean, labels):
    attacks = {
        "able": Push(0.2, lambda number: number < 0),
        "never": Push(0.2, lambda number: number >= 0),
        "once": Push(0.2, lambda number: number != 3),
    }
    adaptive = {"adaptive": lambda detector, labelled, images, labels: attacks["never"].result(images)}
    evaluation = run(signal, attacks, clean, labels, adaptive=adaptive, adaptive_on=["able", "never"])
    by_name = functools.partial(evaluation.cell, detector="signal")
    for attack in attacks:
        # At most one success to fit to.
        for trained_on in ("never", "once"):
            cell = by_name(trained_on=trained_on, attack=attack, subset="all")
            values = [
                cell.auc,
                *cell.interval,
                *cell.tpr.values(),
                *cell.fpr.values(),
                *cell.evasion.values(),
            ]
            assert np.isnan(values).all()
            assert cell.reason == f"{cell.num_fit} adversarial images to fit to"
            assert cell.roc == ((), ())
    cell = by_name(trained_on="able", attack="never")
    assert math.isnan(cell.auc)
    assert cell.reason == "0 adversarial images to test on"
    assert [*cell.evasion.values()] == [0.0] * 3
    assert by_name(trained_on="able", attack="never", subset="all").auc > 0.5
    adaptive = by_name(trained_on="never", attack="adaptive", subset="adaptive")
    assert adaptive.reason == "0 adversarial images to fit to"
    assert by_name(trained_on="able", attack="adaptive", subset="adaptive").num_sources == 0
    assert by_name(trained_on="able", subset="worst_case").num_sources == 23


def test_features_that_are_all_the_same_are_not_available(small, clean, labels):
    class Blind(kf.detectors.Detector):
        def features_of(self, images):
            return np.ones((len(images), 2))

    evaluation = run({"blind": Blind(small)}, {"push": Push(0.2)}, clean, labels)
    assert math.isnan(evaluation.cells[0].auc)
    assert evaluation.cells[0].reason == "the same features for all images"


def test_a_rate_that_calibration_cannot_tell_is_not_available(signal, clean, labels):
    # 12 sources give 24 negatives, too few for one in a hundred.
    evaluation = evaluate(signal, {"push": Push(0.1)}, clean, labels, num_resamples=5)
    cell = evaluation.cell(detector="signal", trained_on="push", attack="push")
    assert list(cell.tpr) == [0.01, 0.05, 0.1]
    for values in (cell.thresholds, cell.tpr, cell.fpr, cell.evasion):
        assert math.isnan(values[0.01])
        assert not math.isnan(values[0.05])
    assert cell.reason == "too few calibration images for 1 %"
    assert cell.auc > 0.5


def test_seed_sets_split_noise_and_interval(signal, clean, labels, attacks):
    first, again, other = (run(signal, attacks, clean, labels, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.cells[0].auc != other.cells[0].auc
    more = run(signal, attacks, clean, labels, num_resamples=21)
    assert more.cells[0].auc == first.cells[0].auc
    assert more.cells[0].interval != first.cells[0].interval


# Attacks


def test_attacks_run_once_on_what_the_classifier_gets_right(signal, clean, labels, attacks):
    run(signal | {"again": Signal(signal["signal"].classifier, Head())}, attacks, clean, labels)
    assert [attack.num_calls for attack in attacks.values()] == [1, 1, 1]


def test_a_ready_result_counts_as_its_attack(signal, clean, labels, attacks):
    ready = {name: attack.result(clean) for name, attack in attacks.items()}
    assert run(signal, ready, clean, labels).cells == run(signal, attacks, clean, labels).cells


def test_least_perturbations_by_partial(small, clean, labels):
    search = functools.partial(kf.attacks.least_perturbation, kf.attacks.FGM(), num_scanned=4, num_refined=1)
    evaluation = run({"softmax": kf.detectors.SoftmaxDetector(small)}, {"least": search}, clean, labels)
    assert evaluation.cells[0].num_successful > 2
    assert evaluation.attacks["least"].startswith(
        "keras_fisher.attacks.least_perturbation.least_perturbation(FGM("
    )
    assert "num_scanned=4" in evaluation.attacks["least"]


def test_adaptive_attack_is_shown_the_fitted_detector_and_the_test_side(
    signal, clean, labels, attacks, small
):
    shown = []

    def adaptive(detector, labelled, images, given_labels):
        shown.append((detector, labelled, detector.threshold_, numbers_of(images), given_labels))
        return Push(0.05, lambda number: number % 2 == 0).result(images)

    detectors = signal | {"bayes": Signal(small, GaussianNB())}
    evaluation = run(detectors, attacks, clean, labels, adaptive={"sly": adaptive}, adaptive_on=["two"])
    oracle = Oracle(small, clean, labels, attacks)
    test = oracle.split.test
    sources = np.flatnonzero(small.predict(clean) == labels)
    # Once for each detector; not for "one" and "three".
    assert len(shown) == 2
    for (detector, labelled, threshold, numbers, given_labels), name in zip(shown, detectors, strict=True):
        cell = evaluation.cell(detector=name, trained_on="two", attack="sly", subset="adaptive")
        assert type(detector.head_) is type(detectors[name].head)
        features, is_adversarial = Head.fitted[1]
        np.testing.assert_array_equal(last_pixel(labelled.images), features[:, 0])
        np.testing.assert_array_equal(labelled.is_adversarial, is_adversarial)
        is_clean = np.arange(len(labelled)) < labelled.is_adversarial.sum()
        np.testing.assert_array_equal(
            last_pixel(labelled.images[is_clean]), oracle.clean[labelled.sources[is_clean]]
        )
        assert threshold == min(cell.thresholds.values()) == cell.thresholds[0.25]
        np.testing.assert_array_equal(numbers, sources[test])
        np.testing.assert_array_equal(given_labels, labels[sources[test]])
    result = Push(0.05, lambda number: number % 2 == 0).result(clean[sources[test]])
    positives = last_pixel(result.images)
    norms = positives - last_pixel(clean[sources[test]])
    noisy = last_pixel(matched_noise(small, clean[sources[test]], norms))
    cell = evaluation.cell(detector="signal", trained_on="two", attack="sly", subset="adaptive")
    success = result.success
    oracle.check(cell, positives[success], [*oracle.clean[test][success], *noisy[success]])
    assert cell.num_sources == cell.num_successful == success.sum() < 23
    for rate in RATES:
        fooled_and_missed = success & (positives < cell.thresholds[rate])
        assert cell.evasion[rate] == pytest.approx(fooled_and_missed.sum() / 23)


def test_adaptive_attacks_run_for_the_first_training_attack_unless_told(signal, clean, labels, attacks):
    adaptive = {"sly": lambda detector, labelled, images, labels: Push(0.1).result(images)}
    evaluation = run(signal, attacks, clean, labels, train_attacks=[("two", "one"), "one"], adaptive=adaptive)
    cells = [cell for cell in evaluation.cells if cell.subset == "adaptive"]
    assert [(cell.trained_on, cell.attack) for cell in cells] == [("two + one", "sly")]


# Features


def test_features_are_computed_once_whatever_the_heads_and_training_attacks(signal, clean, labels, attacks):
    small = signal["signal"].classifier
    detectors = signal | {"bayes": Signal(small, GaussianNB(), threshold=0.3)}
    train_attacks = ["one", "two", ("one", "three")]
    run(detectors, attacks, clean, labels, train_attacks=train_attacks)
    assert set(Signal.asked.values()) == {1}
    num_asked = len(Signal.asked)
    # Another seed may change features.
    run(
        detectors | {"other": Signal(small, GaussianNB(), seed=1)},
        attacks,
        clean,
        labels,
        train_attacks=train_attacks,
    )
    assert set(Signal.asked.values()) == {3}
    assert len(Signal.asked) == num_asked


def test_features_are_not_computed_where_nothing_needs_them(signal, clean, labels, attacks):
    run(signal, attacks, clean, labels, train_attacks=["one"])
    kept = clean[[number not in (7, 30) for number in range(NUM_IMAGES)]]
    split, success = split_sources(58), attacks["one"].result(kept).success
    fit = success[split.fit].sum()
    # Clean; of the training attack, successes to fit to, noise to calibrate, and the test side; of the others
    # the test side.
    assert len(Signal.asked) == 58 + (2 * fit + 12 + 2 * 23) + 2 * (2 * 23)


def test_cache_gives_the_rows_asked_for_in_any_order(small, clean):
    detector, cache = Signal(small), FeatureCache()
    expected = detector.features_of(clean)
    order = np.random.default_rng(2).permutation(NUM_IMAGES)
    np.testing.assert_array_equal(cache.features(detector, clean, order), expected[order])
    np.testing.assert_array_equal(cache.features(detector, clean), expected)
    assert cache.num_computed == NUM_IMAGES
    part = FeatureCache()
    part.features(detector, clean, [5, 3])
    np.testing.assert_array_equal(part.features(detector, clean, [9, 3, 5, 3]), expected[[9, 3, 5, 3]])
    assert part.num_computed == 3


def test_cache_tells_settings_apart_and_arrays_by_identity(small, clean):
    class Relative(Signal):
        def __init__(self, classifier, reference, head="random_forest"):
            super().__init__(classifier, head)
            self.reference = reference

        def features_of(self, images):
            return super().features_of(images) - self.reference

    first, second = np.zeros(2), np.ones(2)
    cache = FeatureCache()
    for index, (detector, images, is_known) in enumerate(
        [
            (Relative(small, first), clean, False),
            (Relative(small, first, GaussianNB()), clean, True),
            (Relative(small, second), clean, False),
            (Relative(small, first), clean.copy(), False),
            (Signal(small), clean, False),
            (Signal(small, batch_size=7), clean, False),
            (Signal(small, threshold=0.9), clean, True),
        ]
    ):
        before = cache.num_computed
        np.testing.assert_array_equal(cache.features(detector, images), detector.features_of(images))
        assert (cache.num_computed == before) is is_known, index


def test_cache_does_not_take_a_new_array_for_one_that_is_gone(small, clean):
    cache = FeatureCache()
    for shift in range(5):
        # Nobody else holds these two: Python gives their addresses to the next.
        features = cache.features(Signal(small), clean + np.float32(shift))
        np.testing.assert_allclose(features[:, 1], np.arange(NUM_IMAGES) / 64 + shift)


# Result


@pytest.fixture
def evaluation(signal, clean, labels, attacks):
    """With an attack that is not available, and an adaptive one."""
    never = {"never": Push(0.1, lambda number: number >= 0)}
    adaptive = {"sly": lambda detector, labelled, images, labels: Push(0.1).result(images)}
    detectors = signal | {"naive Bayes": Signal(signal["signal"].classifier, GaussianNB())}
    return run(detectors, attacks | never, clean, labels, adaptive=adaptive, seed=5)


def test_json_keeps_everything(evaluation, tmp_path):
    path = evaluation.save(tmp_path / "new" / "evaluation.json")
    loaded = Evaluation.load(path)
    # NaN is not equal to itself; its text is.
    assert repr(loaded) == repr(evaluation)
    assert [*path.parent.iterdir()] == [path]
    plain = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert plain["seed"] == 5
    assert plain["versions"]["tensorflow"]
    assert plain["detectors"]["signal"].startswith("Signal(head=Head(), seed=0")
    missing = next(cell for cell in plain["cells"] if cell["attack"] == "never")
    assert missing["auc"] is None
    assert missing["interval"] == [None, None]
    worst = next(cell for cell in plain["cells"] if cell["subset"] == "worst_case")
    assert worst["attack"] is None
    assert set(worst["tpr"]) == {"0.05", "0.1", "0.25"}


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "keras_fisher.Evaluation/0"}'])
def test_load_refuses_other_files(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="`path` must be a JSON file with format"):
        Evaluation.load(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        Evaluation.load(tmp_path / "b.json")


def test_roc_points_lie_on_the_curve_and_keep_its_area():
    generator = np.random.default_rng(6)
    is_adversarial = generator.uniform(size=3000) < 0.3
    scores = generator.normal(size=3000) + 1.5 * is_adversarial
    x, y = (np.array(rates) for rates in roc_points(is_adversarial, scores))
    full = roc_curve(is_adversarial, scores, drop_intermediate=False)
    distances = np.abs(np.array(full[:2])[:, :, None] - np.stack([x, y])[:, None]).max(axis=0)
    # Six decimals.
    assert distances.min(axis=0).max() < 1e-6
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(x) >= 0)
    assert np.all(np.diff(y) >= 0)
    assert 60 < len(x) < 95
    # Low rates are there: one negative of some 2,100.
    assert x[x > 0].min() < 1 / 1000
    assert np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2 == pytest.approx(
        roc_auc_score(is_adversarial, scores), abs=2e-3
    )


def test_roc_of_few_images_is_the_whole_curve(evaluation):
    cell = evaluation.cell(detector="signal", trained_on="one", attack="two")
    (x, y), area = cell.roc, 0.0
    for left, right, below, above in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True):
        area += (right - left) * (below + above) / 2
    # A few dozen numbers of six decimals.
    assert area == pytest.approx(cell.auc, abs=1e-4)


@pytest.mark.parametrize("subset", ["successful", "worst_case", "adaptive"])
def test_roc_is_drawn_of_a_loaded_evaluation(evaluation, tmp_path, subset):
    loaded = Evaluation.load(evaluation.save(tmp_path / "evaluation.json"))
    attack = {"successful": "two", "worst_case": None, "adaptive": "sly"}[subset]
    path = loaded.draw_roc(tmp_path / "roc.png", trained_on="one", attack=attack, subset=subset)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["evaluation.json", "roc.png"]


def test_roc_figure_has_every_detector_chance_and_a_logarithmic_axis(evaluation):
    cells = [evaluation.cell(detector=name, trained_on="one", attack="two") for name in evaluation.detectors]
    cells.append(evaluation.cell(detector="signal", trained_on="never", attack="two"))
    linear, logarithmic = draw_roc_figure(cells, "title").axes
    assert logarithmic.get_xscale() == "log"
    assert linear.get_xscale() == "linear"
    texts = [text.get_text() for text in linear.get_legend().get_texts()]
    assert texts[0] == "chance"
    assert texts[1].startswith(f"signal: AUC {100 * cells[0].auc:.1f} % (")
    assert texts[3] == "signal: not available"
    chance, curve, dots, *_ = linear.lines
    np.testing.assert_allclose(chance.get_xdata(), chance.get_ydata())
    np.testing.assert_array_equal(curve.get_xydata().T, cells[0].roc)
    # A logarithm of 0 is no place: the curve begins at the left end.
    assert logarithmic.lines[1].get_xdata()[0] == logarithmic.get_xlim()[0] > 0
    np.testing.assert_array_equal(
        dots.get_xydata(), list(zip(cells[0].fpr.values(), cells[0].tpr.values(), strict=True))
    )


def test_tables_are_markdown_with_the_numbers(evaluation):
    lines = evaluation.table(trained_on="one", detector="signal", evasion=True).splitlines()
    assert len(lines) == 2 + 4
    assert len({len(line) for line in lines}) == 1
    header, rule, *rows = ([text.strip() for text in line.split("|")[1:-1]] for line in lines)
    assert header[:4] == ["detector", "trained on", "attack", "images"]
    assert set("".join(rule)) == {"-", ":"}
    row = dict(zip(header, rows[1], strict=True))
    cell = evaluation.cell(detector="signal", trained_on="one", attack="two")
    assert row["attack"] == "two"
    assert row["AUC %"] == f"{100 * cell.auc:.1f}"
    assert row["95 %"] == f"{100 * cell.interval[0]:.1f}–{100 * cell.interval[1]:.1f}"
    assert row["TPR % (FPR %) at 10 %"] == f"{100 * cell.tpr[0.1]:.1f} ({100 * cell.fpr[0.1]:.1f})"
    assert row["evades % at 25 %"] == f"{100 * cell.evasion[0.25]:.1f}"
    assert row["n"] == str(cell.num_sources)
    assert dict(zip(header, rows[3], strict=True))["AUC %"] == "–"


def test_table_of_everything_and_cross_table(evaluation):
    lines = evaluation.table(subset=None).splitlines()
    assert "evades" not in lines[0]
    assert len(lines) == 2 + len(evaluation.cells)
    assert sum("worst of all" in line for line in lines) == 2 * 4
    header, _, *rows = evaluation.cross_table("signal", subset="all").splitlines()
    assert [text.strip() for text in header.split("|")[1:-1]] == [
        "trained on",
        "one",
        "two",
        "three",
        "never",
    ]
    assert [row.split("|")[1].strip() for row in rows] == ["one", "two", "three", "never"]
    cell = evaluation.cell(detector="signal", trained_on="two", attack="three", subset="all")
    assert rows[1].split("|")[4].strip() == f"{100 * cell.auc:.1f}"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"detector": "other"}, "`detector` must be one of 'signal', 'naive Bayes', got 'other'"),
        ({"trained_on": ("one", "two")}, "`trained_on` must be one of 'one', 'two', 'three', 'never'"),
        ({"attack": None}, "`attack` must be one of 'one', 'two', 'three', 'never', got None"),
        ({"subset": "some"}, "`subset` must be one of 'successful', 'all', 'worst_case', 'adaptive'"),
        ({"subset": "worst_case"}, "`attack` must be one of None, got 'one'"),
    ],
)
def test_a_cell_that_is_not_there(evaluation, asked, text):
    with pytest.raises(ValueError, match=text):
        evaluation.cell(**{"detector": "signal", "trained_on": "one", "attack": "one"} | asked)


def test_settings_are_described_without_contents_and_addresses(small):
    def attack(classifier, images, labels):
        return None

    text = describe(functools.partial(attack, np.zeros((5, 4)), style=kf.attacks.FGM(epsilon=2.0)))
    assert "attack(array of shape (5, 4), float64, style=FGM(" in text
    assert text.endswith(", …)")
    assert "epsilon=2.0" in text
    assert "0x" not in describe(attack)
    assert describe(Signal(small, seed=3)).startswith("Signal(head='random_forest', seed=3")


def test_cell_of_missing_numbers_is_nan_by_default():
    cell = Cell(
        detector="a", trained_on="b", attack="c", subset="all", num_sources=0, num_successful=0, num_fit=0
    )
    assert repr(Cell.from_json(json.loads(json.dumps(cell.to_json())))) == repr(cell)
    assert math.isnan(cell.auc)


# Errors and bars


def test_progress_shows_attacks_features_and_detectors(signal, clean, labels, attacks, capsys):
    run(signal, attacks, clean, labels, progress=True)
    shown = capsys.readouterr().out
    assert all(phase in shown for phase in ("Attacks", "Features", "Detectors"))
    run(signal, attacks, clean, labels)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"detectors": {}}, TypeError, "`detectors` must map names to at least one detector"),
        ({"detectors": {"a": 1}}, TypeError, r"`detectors\['a'\]` must be a Detector, got int"),
        ({"attacks": {}}, TypeError, "`attacks` must map names to at least one attack"),
        ({"attacks": [kf.attacks.FGM()]}, TypeError, "`attacks` must map names"),
        ({"attacks": {"a": kf.attacks.FGM}}, TypeError, r"got the class FGM. Make one: FGM\(\)"),
        ({"attacks": {"a": 3}}, TypeError, r"`attacks\['a'\]` must be an attack, a callable .* got int"),
        ({"attacks": {1: kf.attacks.FGM()}}, TypeError, "`attacks` must have names that are strings, got 1"),
        ({"train_attacks": "push"}, TypeError, "`train_attacks` must be a sequence .* got 'push'. Of one"),
        ({"train_attacks": [3]}, TypeError, "`train_attacks` must be a sequence of names"),
        ({"train_attacks": ["other"]}, ValueError, "`train_attacks` must be one of 'push', got 'other'"),
        ({"train_attacks": []}, ValueError, "`train_attacks` must hold at least one"),
        ({"train_attacks": [()]}, ValueError, "`train_attacks` must name each attack and each mixture once"),
        ({"train_attacks": [("push", "push")]}, ValueError, "`train_attacks` must name each"),
        ({"train_attacks": ["push", "push"]}, ValueError, "`train_attacks` must name each"),
        ({"adaptive": {"a": 3}}, TypeError, r"`adaptive\['a'\]` must be a callable that returns"),
        ({"adaptive": {"push": len}}, ValueError, "`adaptive` must have names that `attacks` has not"),
        ({"adaptive_on": ["other"]}, ValueError, "`adaptive_on` must be one of 'push', got 'other'"),
        ({"fractions": (0.5, 0.5)}, TypeError, "`fractions` must be three numbers above 0 of sum 1"),
        ({"fractions": (0.5, 0.5, 0.5)}, ValueError, "`fractions` must be three numbers above 0 of sum 1"),
        ({"fractions": (0.5, 0.5, 0.0)}, ValueError, "`fractions` must be a finite number in"),
        (
            {"fractions": (0.98, 0.01, 0.01)},
            ValueError,
            "`images` must hold enough .* got 58: 57 for fit, 0 for",
        ),
        ({"false_positive_rates": 0.1}, TypeError, "`false_positive_rates` must be a sequence"),
        ({"false_positive_rates": (0.1, 2.0)}, ValueError, "`false_positive_rates` must be a finite number"),
        ({"false_positive_rates": (0.1, 0.1)}, ValueError, "`false_positive_rates` must be different"),
        ({"fit_to": "failed"}, ValueError, "`fit_to` must be one of 'successful', 'all', got 'failed'"),
        ({"num_resamples": 0}, ValueError, "`num_resamples` must be at least 1"),
        ({"seed": -1}, ValueError, "`seed` must be in"),
        ({"progress": 1}, TypeError, "`progress` must be True or False"),
        ({"labels": np.zeros(3, int)}, ValueError, "`labels` must"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(signal, clean, labels, changes, error, text):
    push = Push(0.1)
    arguments = {"detectors": signal, "attacks": {"push": push}, "images": clean, "labels": labels}
    with pytest.raises(error, match=text):
        evaluate(**arguments | changes)
    assert push.num_calls == 0
    assert not Signal.asked


def test_detectors_of_two_classifiers_are_refused(signal, clean, labels):
    other = kf.Classifier(testing.small_net("dense", num_classes=3, image_shape=SHAPE))
    with pytest.raises(
        ValueError, match=r"`detectors\['b'\]` must have the classifier of 'signal', got another"
    ):
        evaluate(signal | {"b": Signal(other)}, {"push": Push(0.1)}, clean, labels)
    # One model wrapped twice is one classifier.
    again = Signal(kf.Classifier(signal["signal"].classifier.model), Head())
    evaluation = run(signal | {"b": again}, {"push": Push(0.1)}, clean, labels)
    assert len(evaluation.cells) == 2 * 3


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (lambda result: result.images, TypeError, "must give an AttackResult, got ndarray"),
        (
            lambda r: AttackResult(r.images[:-1], *list(vars(r).values())[1:]),
            ValueError,
            "must have `images`",
        ),
        (
            lambda r: AttackResult(r.images, r.success[1:], *list(vars(r).values())[2:]),
            ValueError,
            "and `success`",
        ),
        (lambda r: AttackResult(r.images + 1, *list(vars(r).values())[1:]), ValueError, "within the bounds"),
    ],
)
def test_results_that_do_not_fit_are_refused(signal, clean, labels, spoil, error, text):
    push, spoilt = Push(0.1), lambda *given: spoil(Push(0.1).result(given[-2]))
    with pytest.raises(error, match=text):
        run(signal, {"push": push, "spoilt": spoilt}, clean, labels)
    with pytest.raises(error, match=text):
        run(signal, {"push": push}, clean, labels, adaptive={"spoilt": spoilt})
    ready = spoil(push.result(clean))
    if isinstance(ready, AttackResult):
        num_calls = push.num_calls
        with pytest.raises(error, match=text):
            run(signal, {"push": push, "spoilt": ready}, clean, labels)
        # A result that is there already is looked at before the others are made.
        assert push.num_calls == num_calls


# The real thing


def test_fisher_and_softmax_detectors_on_mnist(classifier, sample, tmp_path):
    images, labels = sample[0][:200], sample[1][:200]
    attacks = {"FGM": kf.attacks.FGM(epsilon=4.0), "OSSA": kf.attacks.OSSA(epsilon=4.0)}
    detectors = {
        "eigenvalues": kf.FisherDetector(classifier),
        "softmax": kf.detectors.SoftmaxDetector(classifier, head="gaussian_nb"),
    }
    evaluation = evaluate(
        detectors, attacks, images, labels, train_attacks=["FGM", "OSSA", ("FGM", "OSSA")], num_resamples=100
    )
    assert len(evaluation.cells) == 2 * 3 * 5
    for cell in evaluation.cells:
        assert cell.auc > 0.7, cell
        assert cell.interval[0] < cell.interval[1]
        # A threshold of one in ten, from 80 images, on at least 80 others: 0.1 ± four deviations of both.
        assert cell.fpr[0.1] < 0.3
    assert repr(Evaluation.load(evaluation.save(tmp_path / "evaluation.json"))) == repr(evaluation)
    assert evaluation.draw_roc(tmp_path / "roc.png", trained_on="FGM", attack="OSSA").stat().st_size > 10_000


def test_detector_aware_attack_gets_past_the_detector_that_it_knows(classifier, sample):
    def aware(detector, labelled, images, labels):
        stand_in = surrogate_of(detector, labelled, "naive_bayes")
        return kf.adaptive.DetectorAware(stand_in, epsilon=4.0)(detector.classifier, images, labels)

    detectors = {"softmax": kf.detectors.SoftmaxDetector(classifier, head="gaussian_nb")}
    attacks = {"PGD": kf.attacks.PGD(epsilon=4.0)}
    evaluation = evaluate(
        detectors, attacks, sample[0][:100], sample[1][:100], adaptive={"aware": aware}, num_resamples=20
    )
    known, plain = (
        evaluation.cell(detector="softmax", trained_on="PGD", attack=attack, subset=subset)
        for attack, subset in (("aware", "adaptive"), ("PGD", "successful"))
    )
    assert known.evasion[0.1] > plain.evasion[0.1] + 0.3
    assert known.auc < plain.auc
