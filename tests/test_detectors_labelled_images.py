"""What detectors are fitted to and measured on: labels, noise, splits by source, held-out scores."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.detectors import (
    LabelledImages,
    bootstrap_auc,
    bootstrap_auc_difference,
    holdout_auc,
    matched_noise,
)

SHAPE = (4, 4, 1)


@pytest.fixture(scope="module")
def small():
    """A classifier of 4 × 4 pixels in [0, 1]."""
    return kf.Classifier(testing.small_net("dense", num_classes=3, image_shape=SHAPE))


@pytest.fixture(scope="module")
def unbounded(small):
    return kf.Classifier(small.model, bounds=None)


def grey(values):
    """(n, 4, 4, 1): image i is values[i] throughout."""
    return np.ones((len(values), *SHAPE), np.float32) * np.float32(values).reshape(-1, 1, 1, 1)


def norms_of(difference):
    return np.linalg.norm(difference.reshape(len(difference), -1).astype(np.float64), axis=1)


# Noise


@pytest.mark.parametrize("asked", [0.05, 1.0, 3.0])
def test_noise_has_the_norm_asked_for_after_clipping(classifier, images, asked):
    norms = asked * np.linspace(0.5, 1.5, len(images))
    noisy = matched_noise(classifier, images, norms)
    assert noisy.dtype == np.float32
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    # Bisection to 2⁻³⁰, and float32 pixels: 2⁻²⁴ of 1 in each of 784, against 0.025.
    np.testing.assert_allclose(norms_of(noisy.astype(np.float64) - images), norms, rtol=28 * 2**-24 / 0.025)


def test_noise_is_a_random_step_cut_at_the_bounds(classifier, images):
    noisy = matched_noise(classifier, images, np.full(24, 2.0), seed=3)
    for image, changed, other in zip(images, noisy, noisy[::-1], strict=True):
        inside = (changed > 0) & (changed < 1)
        step = (changed - image)[inside]
        # Half of the normal distribution is cut off where pixels are black; the rest has both signs.
        assert step.max() > 0
        assert step.min() < 0
        assert np.any(changed != other)


def test_noise_without_bounds_is_the_plain_one(unbounded):
    images = grey([0.0, 0.5, 1.0])
    noisy = matched_noise(unbounded, images, np.array([1.0, 2.0, 3.0]), seed=1)
    for epsilon, image, changed in zip((1.0, 2.0, 3.0), images, noisy, strict=True):
        np.testing.assert_allclose(norms_of((changed - image)[None]), epsilon, rtol=1e-6)
    directions = (noisy - images) / np.array([1.0, 2.0, 3.0]).reshape(-1, 1, 1, 1)
    plain = kf.attacks.RandomNoise(epsilon=1.0, seed=1)(unbounded, images).images - images
    np.testing.assert_allclose(directions, plain, atol=1e-6)


def test_noise_beyond_reach_takes_every_pixel_to_a_bound(small):
    noisy = matched_noise(small, grey([0.25, 0.5]), np.array([100.0, 0.1]))
    assert set(np.unique(noisy[0])) == {0.0, 1.0}
    assert norms_of(noisy[1:] - 0.5)[0] == pytest.approx(0.1, rel=1e-5)


def test_noise_of_norm_zero_is_none(small):
    images = grey([0.0, 0.3])
    np.testing.assert_array_equal(matched_noise(small, images, np.zeros(2)), images)
    assert matched_noise(small, images[:0], np.zeros(0)).shape == (0, *SHAPE)


def test_noise_follows_seed_and_position_not_the_batch(classifier, sample):
    images = sample[0][:300]  # More than go through the net at once.
    norms = np.full(300, 1.5)
    noisy = matched_noise(classifier, images, norms, seed=2)
    np.testing.assert_array_equal(matched_noise(classifier, images, norms, seed=2), noisy)
    np.testing.assert_array_equal(matched_noise(classifier, images[:5], norms[:5], seed=2), noisy[:5])
    assert np.any(matched_noise(classifier, images[:5], norms[:5], seed=3) != noisy[:5])
    steps = (noisy - images).reshape(300, -1)
    assert len(np.unique(steps.round(4), axis=0)) == 300


@pytest.mark.parametrize(
    ("norms", "error", "text"),
    [
        ([1.0], ValueError, r"`norms` must have the shape \(2,\), got \(1,\)"),
        ([1.0, -1.0], ValueError, "`norms` must be finite and at least 0"),
        ([1.0, np.nan], ValueError, "`norms` must be finite and at least 0"),
        (["a", "b"], TypeError, "`norms` must be an array of real numbers"),
    ],
)
def test_noise_refuses_bad_norms(small, norms, error, text):
    with pytest.raises(error, match=text):
        matched_noise(small, grey([0.1, 0.2]), norms)


def test_noise_refuses_bad_images_and_seeds(small):
    with pytest.raises(ValueError, match="`images` must be within the bounds"):
        matched_noise(small, grey([2.0]), np.ones(1))
    with pytest.raises(ValueError, match="`seed` must be at least 0"):
        matched_noise(small, grey([0.5]), np.ones(1), seed=-1)


# Labels


def test_from_attack_labels_in_order():
    clean, adversarial, noisy = grey([0, 1, 2]), grey([10, 11, 12]), grey([20, 21, 22])
    labelled = LabelledImages.from_attack(clean, adversarial, noisy)
    np.testing.assert_array_equal(labelled.images[:, 0, 0, 0], [0, 1, 2, 20, 21, 22, 10, 11, 12])
    np.testing.assert_array_equal(labelled.is_adversarial, [False] * 6 + [True] * 3)
    np.testing.assert_array_equal(labelled.sources, [0, 1, 2] * 3)
    assert (len(labelled), labelled.num_sources) == (9, 3)


def test_from_attack_without_noise():
    labelled = LabelledImages.from_attack(grey([0, 1]), grey([2, 3]), grey([]))
    np.testing.assert_array_equal(labelled.sources, [0, 1, 0, 1])


@pytest.mark.parametrize(("num_adversarial", "num_noisy"), [(2, 3), (3, 2), (4, 4)])
def test_sources_of_other_numbers_are_not_known(num_adversarial, num_noisy):
    labelled = LabelledImages.from_attack(
        grey(range(3)), grey(10 + np.arange(num_adversarial)), grey(20 + np.arange(num_noisy))
    )
    assert labelled.sources is None
    assert len(labelled.select(labelled.is_adversarial)) == num_adversarial
    for use in (labelled.split, lambda: labelled.num_sources):
        with pytest.raises(
            ValueError, match=r"`sources` must be known, to split by them, got None.*one noisy"
        ):
            use()


def test_unmoved_image_is_found_whatever_its_dtype_and_the_sign_of_zero():
    clean = grey([0.0, 0.5])
    for unmoved in (-0.0 * clean[:1], clean[:1].astype(np.float64), clean[1:]):
        with pytest.raises(ValueError, match="got 1 of 2 equal to one, first at index 1"):
            LabelledImages.from_attack(clean, np.concatenate([clean[:1] + 0.1, unmoved]), clean)


def test_from_attack_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"`noisy` must hold images of shape \(4, 4, 1\), as `clean` does"):
        LabelledImages.from_attack(grey([0]), grey([1]), np.zeros((1, 5, 5, 1)))


@pytest.mark.parametrize(
    ("is_adversarial", "sources", "error", "text"),
    [
        ([True, False], None, TypeError, "`is_adversarial` must be an array of bool, got list"),
        (np.array([0, 1]), None, TypeError, "`is_adversarial` must be an array of bool, got dtype int64"),
        (np.array([True]), None, ValueError, r"`is_adversarial` must have the shape \(2,\), one for each"),
        (np.array([True, False]), np.array([0.0, 1.0]), TypeError, "`sources` must be an array of integers"),
        (np.array([True, False]), np.arange(3), ValueError, r"`sources` must have the shape \(2,\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(is_adversarial, sources, error, text):
    with pytest.raises(error, match=text):
        LabelledImages(grey([0, 1]), is_adversarial, sources)


# Splits


@hypothesis.given(
    sources=st.lists(st.integers(-3, 30), min_size=2, max_size=60),
    test_fraction=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_split_never_has_a_source_on_both_sides(sources, test_fraction, seed):
    hypothesis.assume(len(set(sources)) > 1)
    sources = np.array(sources)
    count = len(sources)
    # Each image is its own number, so that one that is lost or doubled shows.
    labelled = LabelledImages(np.arange(count).reshape(-1, 1, 1, 1), np.arange(count) % 3 == 0, sources)
    train, test = labelled.split(test_fraction, seed)
    assert not set(train.sources) & set(test.sources)
    assert set(train.sources) | set(test.sources) == set(sources)
    assert min(train.num_sources, test.num_sources) >= 1
    assert abs(test.num_sources - test_fraction * len(set(sources))) <= 1
    for part in (train, test):
        places = part.images.ravel()
        np.testing.assert_array_equal(part.sources, sources[places])
        np.testing.assert_array_equal(part.is_adversarial, places % 3 == 0)
    assert sorted([*train.images.ravel(), *test.images.ravel()]) == list(range(count))


def test_split_keeps_the_versions_of_an_image_together():
    labelled = LabelledImages.from_attack(grey(range(50)), grey(range(100, 150)), grey(range(200, 250)))
    for part in labelled.split(0.3, seed=1):
        values = part.images[:, 0, 0, 0]
        np.testing.assert_array_equal(np.unique(values % 100), np.unique(part.sources))
        assert all((values % 100 == source).sum() == 3 for source in part.sources)


def test_split_follows_the_seed():
    labelled = LabelledImages.from_attack(grey(range(50)), grey(range(100, 150)), grey(range(200, 250)))
    first, again, other = (labelled.split(0.5, seed)[1].sources for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_split_refuses_one_source_and_bad_fractions():
    labelled = LabelledImages(grey([0, 1]), np.array([True, False]), np.array([5, 5]))
    with pytest.raises(ValueError, match="`sources` must name at least two images, to be split, got 1"):
        labelled.split()
    with pytest.raises(ValueError, match="`test_fraction` must be a finite number in"):
        labelled.split(1.5)


# AUC


def test_auc_is_that_of_scikit_learn_with_ties():
    generator = np.random.default_rng(0)
    is_adversarial = generator.uniform(size=300) < 0.3
    for scores in (
        generator.normal(size=300) + is_adversarial,
        generator.integers(4, size=300) + is_adversarial,
    ):
        auc, (low, high) = bootstrap_auc(is_adversarial, scores, np.arange(300))
        # Sums of up to 300² halves, over their number.
        assert auc == pytest.approx(roc_auc_score(is_adversarial, scores), abs=1e-12)
        assert low < auc < high


def test_interval_is_that_of_resampled_sources():
    generator = np.random.default_rng(1)
    sources = np.tile(np.arange(40), 3)
    is_adversarial = np.repeat([False, False, True], 40)
    scores = generator.normal(size=120) + is_adversarial
    _, interval = bootstrap_auc(is_adversarial, scores, sources, num_resamples=400, seed=9)
    draws, aucs = np.random.default_rng(2), []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(sources == source) for source in draws.integers(40, size=40)])
        aucs.append(roc_auc_score(is_adversarial[rows], scores[rows]))
    # Two independent sets of 400: a percentile at 2.5 % is off by a few thousandths.
    np.testing.assert_allclose(interval, np.percentile(aucs, [2.5, 97.5]), atol=0.02)


def test_interval_widens_where_images_are_copies():
    generator = np.random.default_rng(3)
    is_adversarial = np.repeat([False, True], 30)
    scores = generator.normal(size=60) + is_adversarial
    copied = [np.tile(array, 10) for array in (is_adversarial, scores)]
    honest = bootstrap_auc(*copied, np.tile(np.arange(60), 10))[1]
    naive = bootstrap_auc(*copied, np.arange(600))[1]
    # Ten copies of an image are one image: an interval that takes them for ten is √10 too narrow.
    assert honest[1] - honest[0] > 2.5 * (naive[1] - naive[0])


def test_interval_follows_the_seed():
    generator = np.random.default_rng(4)
    data = np.arange(60) % 2 == 0, generator.normal(size=60), np.arange(60) // 2
    assert bootstrap_auc(*data, seed=1) == bootstrap_auc(*data, seed=1)
    assert bootstrap_auc(*data, seed=1)[1] != bootstrap_auc(*data, seed=2)[1]


def test_difference_is_that_of_the_same_resamples():
    generator = np.random.default_rng(5)
    sources = np.tile(np.arange(100), 2)
    is_adversarial = np.repeat([False, True], 100)
    scores = generator.normal(size=200) + is_adversarial
    others = scores + 0.3 * generator.normal(size=200)
    difference, (low, high) = bootstrap_auc_difference(is_adversarial, scores, others, sources, seed=6)
    expected = roc_auc_score(is_adversarial, scores) - roc_auc_score(is_adversarial, others)
    assert difference == pytest.approx(expected, abs=1e-12)
    draws, differences = np.random.default_rng(7), []
    for _ in range(1000):
        drawn = draws.integers(100, size=100)
        rows = np.concatenate([drawn, 100 + drawn])
        # The area is the share of pairs in the right order; there are no ties.
        first, second = (np.mean(drawn[100:, None] > drawn[:100]) for drawn in (scores[rows], others[rows]))
        differences.append(first - second)
    np.testing.assert_allclose((low, high), np.percentile(differences, [2.5, 97.5]), atol=0.005)
    # Narrower than what the two by themselves suggest.
    widths = [np.ptp(bootstrap_auc(is_adversarial, one, sources)[1]) for one in (scores, others)]
    assert high - low < 0.6 * min(widths)
    same = bootstrap_auc_difference(is_adversarial, scores, scores, sources)
    assert same == (0.0, (0.0, 0.0))


@pytest.mark.parametrize("label", [True, False])
def test_auc_of_one_kind_is_refused(label):
    with pytest.raises(ValueError, match="`is_adversarial` must have images of both kinds"):
        bootstrap_auc_difference(np.full(4, label), np.arange(4.0), np.arange(4.0), np.arange(4))
    with pytest.raises(ValueError, match="`is_adversarial` must have images of both kinds"):
        bootstrap_auc(np.full(4, label), np.arange(4.0), np.arange(4))


# Held-out scores


class Recorder(kf.detectors.Detector):
    """Its features are the top left and the next pixel; keeps what it was asked about."""

    asked: list = []  # noqa: RUF012

    def features_of(self, images):
        self.asked.append(np.array(images))
        return np.asarray(images, np.float64)[:, 0, :2, 0]


@pytest.fixture
def recorder(small):
    Recorder.asked = []
    return Recorder(small, head=KNeighborsClassifier(1))


@pytest.fixture
def marked():
    """40 clean images, each with a number of its own in one pixel, and their attacked and noisy versions."""
    clean = np.full((40, *SHAPE), 0.5, np.float32)
    clean[:, 0, 0, 0] = np.arange(40) / 64
    versions = []
    for version in range(3):
        images = clean.copy()
        images[:, 3, 3, 0] += version / 8
        versions.append(images)
    return versions


def test_holdout_fits_and_measures_on_different_sources(recorder, marked):
    clean, adversarial, noisy = marked
    score = holdout_auc({"recorder": recorder}, clean, adversarial, noisy, test_fraction=0.3, seed=1)[
        "recorder"
    ]
    train, test = ({*np.unique(images[:, 0, 0, 0])} for images in recorder.asked)
    assert not train & test
    assert train | test == {*(np.arange(40) / 64)}
    assert (score.num_train, score.num_test) == (len(train), len(test)) == (28, 12)
    assert [len(images) for images in recorder.asked] == [84, 36]
    assert not hasattr(recorder, "head_")


def test_holdout_gives_no_credit_for_memory(recorder, marked):
    # A nearest neighbour knows every image by its number; labels that are noise cannot be told on others.
    clean, adversarial, noisy = marked
    swapped = np.arange(40) % 2 == 0
    clean[swapped], adversarial[swapped] = adversarial[swapped], clean[swapped].copy()
    score = holdout_auc({"recorder": recorder}, clean, adversarial, noisy)["recorder"]
    assert score.interval[0] <= score.auc <= score.interval[1]
    assert abs(score.auc - 0.5) < 0.2


def test_holdout_tells_apart_what_can_be_told_apart(small, marked):
    class Corner(kf.detectors.Detector):
        def features_of(self, images):
            return np.asarray(images, np.float64)[:, 3, 3, :]

    clean, adversarial, _ = marked
    detectors = {"one": Corner(small), "two": Corner(small, head="gaussian_nb")}
    scores = holdout_auc(detectors, clean, adversarial, noisy=clean[:0])
    assert list(scores) == ["one", "two"]
    assert all(score.auc == 1.0 and score.interval == (1.0, 1.0) for score in scores.values())


def test_holdout_seed_sets_split_and_noise(small, marked):
    clean, adversarial, _ = marked
    detectors = {"softmax": kf.detectors.SoftmaxDetector(small)}
    first, again, other = (holdout_auc(detectors, clean, adversarial, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_holdout_refuses_what_it_cannot_split_or_fit(small, recorder, marked):
    clean, adversarial, noisy = marked
    with pytest.raises(ValueError, match="`sources` must be known"):
        holdout_auc({"a": recorder}, clean, adversarial[:30], noisy)
    with pytest.raises(ValueError, match=r"`adversarial` must hold one image for each of the 40"):
        holdout_auc({"a": recorder}, clean, adversarial[:30])
    with pytest.raises(TypeError, match=r"`detectors\['a'\]` must be a Detector, got Classifier"):
        holdout_auc({"a": small}, clean, adversarial)
    for empty in ({}, recorder):
        with pytest.raises(TypeError, match="`detectors` must map names to at least one detector"):
            holdout_auc(empty, clean, adversarial)
