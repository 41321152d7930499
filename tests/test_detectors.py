"""Every detector with every head: what it promises, its features, and what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.detectors.features import LOG_FLOOR
from keras_fisher.detectors.heads import make_head
from keras_fisher.detectors.threshold_at import threshold_at

KINDS = {"fisher": kf.FisherDetector, "softmax": kf.detectors.SoftmaxDetector}
HEADS = {
    "random_forest": "random_forest",
    "gaussian_nb": "gaussian_nb",
    "estimator": make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
}

# Logits of ±30 in float32, in batches of another size: some 50 roundings of 2⁻²⁴ · 30 in each.
BATCH_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def attacked(classifier, images, labels):
    """What an attack made of `images`: long enough a step for the kinds to differ."""
    return kf.attacks.FGM(epsilon=3.0)(classifier, images, labels).images


@pytest.fixture(scope="module", params=[(kind, head) for kind in KINDS for head in HEADS], ids="-".join)
def fitted(request, classifier, images, attacked):
    kind, head = request.param
    return KINDS[kind](classifier, head=HEADS[head]).fit(images, attacked)


@pytest.fixture(params=list(KINDS))
def kind(request):
    return KINDS[request.param]


def test_scores_have_the_promised_shapes_types_and_range(fitted, images):
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (24, 2)
    assert probabilities.dtype == np.float64
    # Two float64 numbers.
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-15 * 4)
    scores = fitted.score_samples(images)
    np.testing.assert_array_equal(scores, probabilities[:, 1])
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert fitted.predict(images).dtype == np.int64
    np.testing.assert_array_equal(fitted.predict(images), scores >= 0.5)
    np.testing.assert_array_equal(fitted.classes_, [0, 1])


def test_attacked_images_score_higher_than_clean_ones(fitted, images, attacked):
    # On what it was fitted to: that the columns are not swapped.
    assert fitted.score_samples(attacked).mean() > fitted.score_samples(images).mean() + 0.2


def test_answer_does_not_depend_on_the_batch(fitted, images):
    features = fitted.features_of(images)
    one_by_one = np.concatenate([fitted.features_of(image[None]) for image in images])
    np.testing.assert_allclose(one_by_one, features, atol=BATCH_TOLERANCE)
    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_allclose(fitted.features_of(images[order]), features[order], atol=BATCH_TOLERANCE)
    # A forest may change a tree's mind where a threshold lies within the tolerance.
    np.testing.assert_allclose(
        fitted.score_samples(images[order]), fitted.score_samples(images)[order], atol=0.05
    )


def test_dataset_and_tensor_score_as_the_array(fitted, images):
    scores = fitted.score_samples(images)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.zeros(len(images)))).batch(24)
    np.testing.assert_array_equal(fitted.score_samples(dataset), scores)
    np.testing.assert_array_equal(fitted.score_samples(tf.constant(images)), scores)


def test_clone_has_the_settings_and_is_not_fitted(fitted, images):
    copy = clone(fitted)
    assert type(copy) is type(fitted)
    assert copy.get_params() == fitted.get_params()
    assert copy.classifier is fitted.classifier
    with pytest.raises(NotFittedError):
        copy.score_samples(images)


def test_fit_repeats(fitted, images, attacked):
    again = clone(fitted).fit(images, attacked)
    np.testing.assert_array_equal(again.score_samples(images), fitted.score_samples(images))


def test_another_seed_gives_another_forest(kind, classifier, images, attacked):
    # Without noise, which has a seed as well.
    first, again, other = (
        kind(classifier, seed=seed).fit(images, attacked, images[:0]).score_samples(images)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("method", ["predict_proba", "score_samples", "predict", "save"])
def test_use_before_fit_says_what_to_do(kind, classifier, images, tmp_path, method):
    argument = tmp_path / "detector" if method == "save" else images
    remedy = r"is not fitted yet\. Call fit\(clean, adversarial\) first.*load_detector"
    with pytest.raises(NotFittedError, match=remedy):
        getattr(kind(classifier), method)(argument)
    with pytest.raises(NotFittedError, match=remedy):
        _ = kind(classifier).classes_


def test_fit_returns_itself_and_leaves_the_given_head_alone(kind, classifier, images, attacked):
    head = GaussianNB()
    detector = kind(classifier, head=head)
    assert detector.fit(images, attacked) is detector
    assert detector.head is head
    assert not hasattr(head, "theta_")
    assert detector.head_ is not head
    assert hasattr(detector.head_, "theta_")


def test_init_only_stores_settings(classifier):
    solver = kf.solvers.Lanczos()
    settings = {
        "num_eigenvalues": 5,
        "head": "gaussian_nb",
        "features": "paper",
        "solver": solver,
        "seed": 3,
        "batch_size": 7,
        "threshold": 0.9,
    }
    detector = kf.FisherDetector(classifier, **settings)
    assert detector.get_params() == {"classifier": classifier, **settings}
    assert not [name for name in vars(detector) if name.endswith("_")]
    assert "num_eigenvalues=5, head='gaussian_nb'" in repr(detector)


def test_keras_model_is_as_good_as_a_classifier(kind, lenet, classifier, images, attacked):
    ours = kind(lenet, head="gaussian_nb").fit(images, attacked)
    theirs = kind(classifier, head="gaussian_nb").fit(images, attacked)
    np.testing.assert_array_equal(ours.score_samples(images), theirs.score_samples(images))


def test_threshold_decides_from_its_value_on(kind, classifier, images, attacked):
    scores = kind(classifier).fit(images, attacked).score_samples(attacked)
    threshold = float(np.sort(scores)[10])
    detector = kind(classifier, threshold=threshold).fit(images, attacked)
    np.testing.assert_array_equal(detector.predict(attacked), scores >= threshold)
    assert 0 < detector.predict(attacked).sum() < 24


def test_batch_size_reaches_the_classifier(kind, classifier, images, attacked, monkeypatch):
    seen = []
    original = kf.Classifier.batches

    def spy(self, images, batch_size=None):
        chunks = list(original(self, images, batch_size))
        seen.extend(len(chunk) for chunk in chunks)
        return iter(chunks)

    monkeypatch.setattr(kf.Classifier, "batches", spy)
    kind(classifier, batch_size=7).features_of(images)
    assert seen == [7, 7, 7, 3]


def test_noisy_negatives_are_as_long_as_the_attack_by_default(kind, classifier, images, attacked):
    norms = np.linalg.norm((attacked.astype(np.float64) - images).reshape(24, -1), axis=1)
    noisy = kf.detectors.matched_noise(classifier, images, norms, seed=5)
    default = kind(classifier, head="gaussian_nb", seed=5).fit(images, attacked).score_samples(images)
    given = kind(classifier, head="gaussian_nb", seed=5).fit(images, attacked, noisy).score_samples(images)
    # The norms were summed in another order here, which may move the noise by a rounding.
    np.testing.assert_allclose(default, given, rtol=1e-5)
    without = (
        kind(classifier, head="gaussian_nb", seed=5).fit(images, attacked, images[:0]).score_samples(images)
    )
    assert not np.allclose(without, default, rtol=1e-3)


def test_fit_takes_other_numbers_with_noisy_images(kind, classifier, images, attacked):
    assert kind(classifier, head="gaussian_nb").fit(images[:20], attacked[:9], noisy=images[20:]).predict(
        images
    ).shape == (24,)


# Features


def test_fisher_features_are_the_log_eigenvalues_and_pads(classifier, images):
    features = kf.FisherDetector(classifier).features_of(images)
    spectrum = kf.fisher_spectrum(classifier, images, solver="exact")
    assert features.shape == (24, 20)
    assert features.dtype == np.float64
    # The same eigenvalues with and without eigenvectors, whose logarithms are of the order of 10.
    np.testing.assert_allclose(features[:, :9], np.log(spectrum.eigenvalues), rtol=1e-9)
    assert np.all(np.diff(features, axis=1) <= 0)
    np.testing.assert_array_equal(features[:, 9:], np.log(1e-100))


def test_fisher_features_are_cut_to_the_number_asked_for(classifier, images):
    nine = kf.FisherDetector(classifier, num_eigenvalues=9).features_of(images)
    three = kf.FisherDetector(classifier, num_eigenvalues=3).features_of(images)
    np.testing.assert_allclose(three, nine[:, :3], rtol=1e-9)


def test_fisher_features_of_a_constant_model_are_the_floor():
    model = testing.small_net("dense", num_classes=3, image_shape=(4, 4, 1))
    model.layers[-1].set_weights([0 * weight for weight in model.layers[-1].get_weights()])
    features = kf.FisherDetector(model, num_eigenvalues=4).features_of(np.zeros((2, 4, 4, 1)))
    np.testing.assert_array_equal(features, np.full((2, 4), LOG_FLOOR))


def test_fisher_features_of_two_classes_and_few_pixels():
    two = testing.small_net("dense", num_classes=2, image_shape=(4, 4, 1))
    features = kf.FisherDetector(two).features_of(np.full((3, 4, 4, 1), 0.5))
    assert np.all(features[:, 0] > LOG_FLOOR)
    np.testing.assert_array_equal(features[:, 1:], LOG_FLOOR)
    # Four pixels bound the rank below the seven of eight classes.
    few = testing.small_net("dense", num_classes=8, image_shape=(2, 2, 1))
    features = kf.FisherDetector(few).features_of(np.full((3, 2, 2, 1), 0.5))
    assert np.all(features[:, 3] > LOG_FLOOR)
    np.testing.assert_array_equal(features[:, 4:], LOG_FLOOR)


def test_fisher_features_come_from_the_solver_asked_for(classifier, images):
    exact = kf.FisherDetector(classifier, num_eigenvalues=1).features_of(images)
    solver = kf.solvers.PowerIteration(tolerance=1e-3)
    power = kf.FisherDetector(classifier, num_eigenvalues=1, solver=solver).features_of(images)
    # The tolerance bounds the relative error of λ, hence the error of its logarithm.
    np.testing.assert_allclose(power, exact, atol=1.1e-3)
    assert np.any(power != exact)
    with pytest.raises(ValueError, match=r"`num_eigenpairs` must be at most 1, got 9"):
        kf.FisherDetector(classifier, solver=solver).features_of(images)


def test_fisher_detector_warns_of_eigenvalues_that_did_not_converge(classifier, images):
    solver = kf.solvers.PowerIteration(max_iterations=1, tolerance=1e-9)
    detector = kf.FisherDetector(classifier, num_eigenvalues=1, solver=solver)
    with pytest.warns(UserWarning, match=r"of 24 of 24 images did not converge.*solver=\"exact\""):
        detector.features_of(images)


def test_seed_reaches_the_solver(classifier, images):
    features = []
    for seed in (0, 1):
        solver = kf.solvers.PowerIteration(max_iterations=3)
        detector = kf.FisherDetector(classifier, num_eigenvalues=1, solver=solver, seed=seed)
        with pytest.warns(UserWarning, match="did not converge"):
            features.append(detector.features_of(images))
    assert np.any(features[0] != features[1])


def test_softmax_features_are_the_sorted_log_probabilities(classifier, images):
    features = kf.detectors.SoftmaxDetector(classifier).features_of(images)
    assert features.shape == (24, 10)
    assert features.dtype == np.float64
    logits = classifier.logits(images).astype(np.float64)
    expected = np.sort(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), axis=1)[:, ::-1]
    # log p ≈ 0 of the top class comes from a difference of numbers of the order of 30.
    np.testing.assert_allclose(features, expected, atol=30 * 2**-50)


# Heads


def test_random_forest_is_the_papers(classifier, images, attacked):
    forest = kf.FisherDetector(classifier).fit(images, attacked).head_
    assert isinstance(forest, RandomForestClassifier)
    assert len(forest.estimators_) == 100
    assert max(tree.get_depth() for tree in forest.estimators_) <= 5


@pytest.mark.parametrize("name", ["random_forest", "gaussian_nb"])
def test_named_heads_give_a_half_where_features_say_nothing(name):
    generator = np.random.default_rng(0)
    # Twice as many negatives as positives, as clean and noisy images are.
    head = make_head(name, seed=0).fit(generator.normal(size=(3000, 3)), np.arange(3000) % 3 == 0)
    # Unbalanced it is 0.33; the mean over 1,000 points that are each off by up to 0.1.
    assert head.predict_proba(generator.normal(size=(1000, 3)))[:, 1].mean() == pytest.approx(0.5, abs=0.05)


def test_seed_of_a_named_head_is_the_detectors():
    assert make_head("random_forest", seed=7).random_state == 7
    assert make_head(RandomForestClassifier(random_state=3), seed=7).random_state == 3


def test_naive_bayes_is_not_upset_by_pads(classifier, images, attacked):
    unpadded = kf.FisherDetector(classifier, num_eigenvalues=9, head="gaussian_nb").fit(images, attacked)
    padded = kf.FisherDetector(classifier, num_eigenvalues=20, head="gaussian_nb").fit(images, attacked)
    both = np.concatenate([images, attacked])
    is_attacked = np.repeat([False, True], 24)
    # Equal terms are added to both log-likelihoods, which are of the order of 100.
    np.testing.assert_allclose(padded.score_samples(both), unpadded.score_samples(both), atol=1e-11)
    aucs = [roc_auc_score(is_attacked, detector.score_samples(both)) for detector in (padded, unpadded)]
    assert aucs[0] == aucs[1]


def test_fisher_detector_finds_least_norm_attacks_on_images_it_has_not_seen(classifier, sample):
    images, labels = (array[:200] for array in sample)
    result = kf.attacks.least_perturbation(kf.attacks.OSSA(), classifier, images, labels)
    keep = result.success & (result.norms > 0)
    detectors = {
        "forest": kf.FisherDetector(classifier),
        "bayes": kf.FisherDetector(classifier, head="gaussian_nb"),
        "softmax": kf.detectors.SoftmaxDetector(classifier),
    }
    scores = kf.detectors.holdout_auc(detectors, images[keep], result.images[keep])
    # Measured on these 183: 0.991, 0.991 and 1.000; with seeds 1 to 9 not less.
    assert all(score.auc >= 0.98 for score in scores.values()), scores


# Refusals


def test_unknown_head_lists_what_there_is(kind, classifier):
    rule = "`head` must be one of 'random_forest', 'gaussian_nb', .*, got 'perceptron'.*scikit-learn"
    with pytest.raises(ValueError, match=rule):
        kind(classifier, head="perceptron")


@pytest.mark.parametrize("head", [None, 3, GaussianNB, len])
def test_head_that_is_no_estimator_is_refused(kind, classifier, head):
    with pytest.raises(TypeError, match=r"`head` must be one of .* or a scikit-learn classifier"):
        kind(classifier, head=head)


def test_head_without_probabilities_is_refused(kind, classifier, images, attacked):
    with pytest.raises(
        TypeError, match=r"`head` must have predict_proba, got Ridge\(\).*CalibratedClassifierCV"
    ):
        kind(classifier, head=Ridge())
    # A support vector machine has them or not by its settings.
    detector = kind(classifier, head=SVC())
    with pytest.raises(
        TypeError, match=r"`head` must have predict_proba, got SVC\(\).*CalibratedClassifierCV"
    ):
        detector.fit(images, attacked)
    assert not hasattr(detector, "head_")


def test_calibrated_head_is_taken(classifier, images, attacked):
    head = CalibratedClassifierCV(SVC(), cv=2)
    assert kf.detectors.SoftmaxDetector(classifier, head=head).fit(images, attacked).predict(
        images
    ).shape == (24,)


@pytest.mark.parametrize(
    ("setting", "value", "error", "text"),
    [
        ("num_eigenvalues", 0, ValueError, "`num_eigenvalues` must be at least 1, got 0"),
        ("num_eigenvalues", 2.0, TypeError, "`num_eigenvalues` must be an integer"),
        ("features", "all", ValueError, "`features` must be one of 'paper', 'extended', got 'all'"),
        ("solver", "magic", ValueError, "`solver` must be one of"),
        ("solver", 3, TypeError, "`solver` must be a name or an object"),
        ("seed", -1, ValueError, "`seed` must be in"),
        ("batch_size", 0, ValueError, "`batch_size` must be at least 1"),
        ("threshold", 1.5, ValueError, "`threshold` must be a finite number in"),
        ("threshold", "half", TypeError, "`threshold` must be a real number"),
    ],
)
def test_bad_setting_is_refused_at_once(classifier, setting, value, error, text):
    with pytest.raises(error, match=text):
        kf.FisherDetector(classifier, **{setting: value})


def test_model_that_is_none_is_refused(kind):
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        kind(len)


def test_lengths_that_differ_are_refused_with_the_remedy(kind, classifier, images, attacked):
    rule = (
        r"`adversarial` must hold one image for each of the 24 of `clean`.*got 20.*result\.success.*`noisy="
    )
    with pytest.raises(ValueError, match=rule):
        kind(classifier).fit(images, attacked[:20])


def test_failed_attacks_are_refused_with_the_remedy(kind, classifier, images, attacked):
    unmoved = attacked.copy()
    unmoved[[4, 9]] = images[[4, 9]]
    rule = r"must differ from the clean images, got 2 of 24 equal to one, first at index 4.*result\.success"
    with pytest.raises(ValueError, match=rule):
        kind(classifier).fit(images, unmoved)
    # Wherever the clean image stands.
    with pytest.raises(ValueError, match=rule):
        kind(classifier).fit(images[::-1], unmoved, noisy=images[:0])


@pytest.mark.parametrize("argument", ["clean", "adversarial", "noisy"])
def test_bad_images_are_refused_by_name(kind, classifier, images, attacked, argument):
    given = {"clean": images, "adversarial": attacked, "noisy": images}
    broken = given[argument].copy()
    broken[3, 5, 5] = np.nan
    with pytest.raises(ValueError, match=rf"`{argument}` must be finite, got NaN .* first at index 3"):
        kind(classifier).fit(**given | {argument: broken})
    with pytest.raises(ValueError, match=rf"`{argument}` must be within the bounds"):
        kind(classifier).fit(**given | {argument: 255 * given[argument]})
    with pytest.raises(ValueError, match=rf"`{argument}` must have the shape"):
        kind(classifier).fit(**given | {argument: given[argument][:, :9]})


@pytest.mark.parametrize("argument", ["clean", "adversarial"])
@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_are_refused(kind, classifier, images, attacked, argument, count):
    given = {"clean": images, "adversarial": attacked}
    with pytest.raises(ValueError, match=rf"`{argument}` must hold at least 2 images, got {count}"):
        kind(classifier).fit(**given | {argument: given[argument][:count]})


@pytest.mark.parametrize("label", [False, True])
def test_one_kind_of_images_is_refused(kind, classifier, images, label):
    labelled = kf.detectors.LabelledImages(images, np.full(24, label), None)
    with pytest.raises(ValueError, match=rf"`labelled` must hold images of both kinds, got {24 * label} adv"):
        kind(classifier).fit_labelled(labelled)
    with pytest.raises(TypeError, match="`labelled` must be LabelledImages, got ndarray"):
        kind(classifier).fit_labelled(images)


def test_features_that_are_all_the_same_are_refused(kind, images, attacked):
    model = testing.small_net("dense")
    model.layers[-1].set_weights([0 * weight for weight in model.layers[-1].get_weights()])
    rule = "`classifier` must answer differently to different images, got the same features for all 72"
    with pytest.raises(ValueError, match=rule):
        kind(model, head="gaussian_nb").fit(images, attacked)


def test_scoring_refuses_bad_images(fitted, images):
    with pytest.raises(ValueError, match="`images` must hold at least one image"):
        fitted.score_samples(images[:0])
    with pytest.raises(ValueError, match="`images` must be within the bounds"):
        fitted.score_samples(images + 1)
    with pytest.raises(ValueError, match="A single image needs a batch axis"):
        fitted.score_samples(images[0])


def test_concrete_methods_need_only_features():
    class Brightness(kf.detectors.Detector):
        def features_of(self, images):
            return np.asarray(images, np.float64).mean(axis=(1, 2, 3))[:, None]

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    dark = np.random.default_rng(0).uniform(0.0, 0.4, (30, 4, 4, 1))
    detector = Brightness(model, head="gaussian_nb").fit(dark, dark + 0.5, noisy=dark[:0])
    np.testing.assert_array_equal(
        detector.predict(np.array([0.1, 0.9]).reshape(2, 1, 1, 1) * np.ones((4, 4, 1))), [0, 1]
    )
    with pytest.raises(TypeError, match="abstract"):
        kf.detectors.Detector(model)


# Thresholds


def test_calibrated_threshold_flags_at_most_the_wanted_share(classifier, images, attacked):
    clean, _ = kf.datasets.mnist_sample()
    clean = clean[500:700]
    detector = kf.FisherDetector(classifier).fit(images, attacked)
    assert detector.threshold_ == detector.threshold == 0.5
    for rate in (0.01, 0.1, 0.333):
        assert detector.calibrate(clean, rate) is detector
        scores = detector.score_samples(clean)
        flagged = detector.predict(clean)
        assert flagged.mean() <= rate
        # The least such threshold: one score lower, and too many are flagged.
        below = scores[scores < detector.threshold_].max()
        assert (scores >= below).mean() > rate
    assert detector.fit(images, attacked).threshold_ == 0.5


def test_ties_are_flagged_together_or_not_at_all():
    scores = np.array([0.9, 0.7, 0.7, 0.7, 0.2])
    assert (scores >= threshold_at(scores, 0.2)).sum() == 1
    assert (scores >= threshold_at(scores, 0.4)).sum() == 1
    assert (scores >= threshold_at(scores, 0.8)).sum() == 4
    assert (scores >= threshold_at(scores, 1.0)).sum() == 5


def test_rate_too_small_for_the_images_is_refused(classifier, images, attacked):
    detector = kf.FisherDetector(classifier).fit(images, attacked)
    with pytest.raises(
        ValueError, match=r"`images` must hold at least 100 images, for a rate of 0.01, got 24"
    ):
        detector.calibrate(images, 0.01)
    with pytest.raises(ValueError, match="`false_positive_rate` must be"):
        detector.calibrate(images, 0.0)
    with pytest.raises(NotFittedError):
        kf.FisherDetector(classifier).calibrate(images, 0.5)
    assert detector.threshold_ == 0.5


def test_calibrated_threshold_is_saved(classifier, images, attacked, tmp_path):
    detector = kf.FisherDetector(classifier).fit(images, attacked).calibrate(images, 0.3)
    again = kf.load_detector(detector.save(tmp_path / "detector"))
    assert again.threshold_ == detector.threshold_ != again.threshold


# As a scikit-learn estimator


def test_scikit_learn_sees_whether_it_is_fitted(kind, classifier, images, attacked):
    detector = kind(classifier, head="gaussian_nb")
    with pytest.raises(NotFittedError):
        check_is_fitted(detector)
    check_is_fitted(detector.fit(images, attacked))
    assert is_classifier(detector)


def test_settings_can_be_set_and_are_checked(classifier, images, attacked):
    detector = kf.FisherDetector(classifier, head="gaussian_nb").fit(images, attacked)
    before = detector.score_samples(images)
    assert detector.set_params(threshold=0.25, batch_size=5) is detector
    assert (detector.threshold, detector.threshold_, detector.head) == (0.25, 0.25, "gaussian_nb")
    np.testing.assert_allclose(detector.score_samples(images), before, atol=BATCH_TOLERANCE)
    for settings, text in (({"depth": 3}, "`settings` must be one of"), ({"seed": -1}, "`seed` must be in")):
        with pytest.raises(ValueError, match=text):
            detector.set_params(threshold=0.75, **settings)
        assert detector.threshold == 0.25
    # The head was fitted to other features.
    with pytest.raises(NotFittedError):
        detector.set_params(features="extended").score_samples(images)
    assert detector.threshold == 0.25


@pytest.mark.parametrize(
    ("features", "is_adversarial", "text"),
    [
        (np.zeros((0, 3)), np.zeros(0, bool), "hold images of both kinds, got 0 adversarial of 0"),
        (np.eye(3), np.zeros(3, bool), "hold images of both kinds, got 0 adversarial of 3"),
        (np.eye(3), np.ones(2, bool), r"`features` must be \(n, f\), with n labels"),
        (np.zeros(3), np.ones(3, bool), r"`features` must be \(n, f\)"),
    ],
)
def test_features_that_do_not_fit_are_refused(classifier, features, is_adversarial, text):
    with pytest.raises(ValueError, match=text):
        kf.FisherDetector(classifier).fit_features(features, is_adversarial)


def test_threshold_above_one_is_warned_of(classifier, images, attacked):
    class Certain(GaussianNB):
        def predict_proba(self, features):
            return np.tile([0.0, 1.0], (len(features), 1))

    detector = kf.FisherDetector(classifier, head=Certain()).fit(images, attacked)
    with pytest.warns(UserWarning, match="nothing will be flagged"):
        detector.calibrate(images, 0.1)
    assert not detector.predict(images).any()


def test_extended_features_of_images_without_height_and_width_are_refused_at_once():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"`classifier` must take images \(h, w, c\), to be blurred"):
        kf.FisherDetector(model, features="extended")
    assert kf.FisherDetector(model).features_of(np.full((2, 5), 0.5)).shape == (2, 20)


def test_extended_features_work_with_a_solver_of_one_eigenvalue(classifier, images):
    power = kf.FisherDetector(classifier, 1, features="extended", solver="power").features_of(images[:4])
    exact = kf.FisherDetector(classifier, 1, features="extended").features_of(images[:4])
    np.testing.assert_allclose(power[:, 1:], exact[:, 1:], atol=1e-3)
