"""Each feature against a formula of its own, in float64, by another route than the library's."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats
import tensorflow as tf
from scipy.special import log_softmax

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.detectors import features as kinds
from keras_fisher.serialization import describe, restore

# A decomposition in float64 is good to some 1e-15 of the largest eigenvalue; those down to 1e-6 of it count.
RELATIVE = 1e-8


@pytest.fixture(scope="module", params=["lenet5", pytest.param("depthwise", marks=pytest.mark.slow)])
def net(request):
    model = kf.models.lenet5(weights="mnist") if request.param == "lenet5" else testing.small_net("depthwise")
    return testing.float64_copy(model)


@pytest.fixture(scope="module")
def photos():
    """Blended with noise: off the ties of max-pooling in a flat background."""
    images, _ = kf.datasets.mnist_sample()
    noise = np.random.default_rng(1).uniform(size=(10, 28, 28, 1))
    return 0.9 * images[:10].astype(np.float64) + 0.1 * noise


def features_of(net, photos, *features):
    return kf.FisherDetector(net, features=features).features_of(photos)


def jacobian_of(net, photos):
    """Returns (n, classes, pixels)."""
    images = tf.constant(photos)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = net(images)
    return tape.batch_jacobian(logits, images).numpy().reshape(len(photos), logits.shape[1], -1)


def logits_of(net, photos):
    return net(photos).numpy()


def assert_close_logs(found, eigenvalues):
    is_large = eigenvalues >= 1e-6 * eigenvalues[:, :1]
    assert is_large.sum() >= 2 * len(found)
    np.testing.assert_allclose(np.exp(found)[is_large], eigenvalues[is_large], rtol=RELATIVE)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 20.0, 0.7])
def test_log_eigenvalues_are_those_of_logits_divided_by_the_temperature(net, photos, temperature):
    found = features_of(net, photos, kinds.LogEigenvalues(temperature=temperature))
    assert found.shape == (10, 9)
    assert_close_logs(
        found, testing.reference_spectrum(testing.scaled_logits(net, 1 / temperature), photos).eigenvalues
    )


def test_log_eigenvalues_at_infinite_temperature_are_those_of_centred_gradients(net, photos):
    jacobian = jacobian_of(net, photos)
    centred = jacobian - jacobian.mean(axis=1, keepdims=True)
    expected = np.linalg.svd(centred, compute_uv=False)[:, :9] ** 2 / 10
    assert_close_logs(features_of(net, photos, kinds.LogEigenvalues(temperature=math.inf)), expected)
    # And the limit of T² times those at T, which are off by about the spread of the logits over T.
    hot = features_of(net, photos, kinds.LogEigenvalues(temperature=1e6)) + 2 * math.log(1e6)
    np.testing.assert_allclose(hot[:, :3], np.log(expected[:, :3]), atol=1e-3)


def test_log_trace_is_the_expected_squared_gradient(net, photos):
    log_p = log_softmax(logits_of(net, photos), axis=-1)
    jacobian = jacobian_of(net, photos)
    mean = np.einsum("nc,ncd->nd", np.exp(log_p), jacobian)
    squares = ((jacobian - mean[:, None]) ** 2).sum(axis=-1)  # ‖∇ log p_y‖²
    found = features_of(net, photos, kinds.LogTrace())[:, 0]
    np.testing.assert_allclose(np.exp(found), (np.exp(log_p) * squares).sum(axis=-1), rtol=RELATIVE)


def test_spectral_entropy_is_that_of_the_shares(net, photos):
    eigenvalues = testing.reference_spectrum(net, photos).eigenvalues
    found = features_of(net, photos, kinds.SpectralEntropy())[:, 0]
    np.testing.assert_allclose(found, scipy.stats.entropy(eigenvalues, axis=-1), rtol=1e-7, atol=1e-12)


def test_log_probabilities_are_sorted_log_softmax(net, photos):
    expected = np.sort(log_softmax(logits_of(net, photos), axis=-1))[:, ::-1]
    # log p of a sure class is of the order of 1 − p, which the oracle rounds.
    np.testing.assert_allclose(
        features_of(net, photos, kinds.LogProbabilities()), expected, rtol=1e-9, atol=1e-14
    )


def test_log_doubt_holds_where_softmax_saturates(net, photos):
    sure = testing.scaled_logits(net, 8.0)
    logits = np.sort(logits_of(sure, photos), axis=-1)
    others = scipy.special.logsumexp(logits[:, :-1], axis=-1)
    expected = others - np.logaddexp(others, logits[:, -1])
    assert expected.min() < -37  # 1 − p is nothing in float64
    found = features_of(sure, photos, kinds.LogDoubt())[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_log_entropy_is_that_of_the_prediction(net, photos):
    log_p = log_softmax(logits_of(net, photos).astype(np.longdouble), axis=-1)
    expected = np.log(-(np.exp(log_p) * log_p).sum(axis=-1)).astype(np.float64)
    found = features_of(net, photos, kinds.LogEntropy())[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_log_gradient_norm_is_that_of_the_loss(net, photos):
    images = tf.constant(photos)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = -tf.reduce_max(tf.nn.log_softmax(net(images)), axis=-1)
    gradients = tape.gradient(loss, images).numpy().reshape(10, -1)
    found = features_of(net, photos, kinds.LogGradientNorm())[:, 0]
    norms = np.linalg.norm(gradients, axis=-1)
    is_unsaturated = norms > 1e-5 * norms.max()  # The oracle forms 1 − p by subtraction.
    assert is_unsaturated.sum() >= 3
    np.testing.assert_allclose(np.exp(found)[is_unsaturated], norms[is_unsaturated], rtol=1e-6)


def test_blur_features_compare_with_the_image_under_a_gaussian(net, photos):
    side = math.exp(-0.5 / 0.8**2)
    line = np.array([side, 1, side]) / (1 + 2 * side)
    kernel = np.outer(line, line)[None, :, :, None]
    blurred = scipy.ndimage.convolve(photos, kernel, mode="reflect")
    before = features_of(net, photos, kinds.LogEigenvalues())
    after = features_of(net, blurred, kinds.LogEigenvalues())
    np.testing.assert_allclose(
        features_of(net, photos, kinds.BlurChange(0.8))[:, :5], (after - before)[:, :5], atol=1e-6
    )
    first, second = (np.exp(log_softmax(logits_of(net, images), axis=-1)) for images in (photos, blurred))
    divergences = np.stack(
        [
            scipy.special.rel_entr(first, second).sum(axis=-1),
            scipy.special.rel_entr(second, first).sum(axis=-1),
        ],
        axis=-1,
    )
    found = np.exp(features_of(net, photos, kinds.LogBlurDivergence(0.8)))
    # Both are sums of numbers of order one.
    np.testing.assert_allclose(found, divergences, rtol=1e-6, atol=1e-14)


def test_features_stand_side_by_side_in_the_order_given(net, photos):
    one, other = kinds.LogTrace(), kinds.LogProbabilities()
    both = features_of(net, photos, one, other)
    separate = [features_of(net, photos, one), features_of(net, photos, other)]
    np.testing.assert_allclose(both, np.concatenate(separate, axis=1), rtol=1e-12)


def test_extended_features_begin_with_those_of_the_paper(photos):
    classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
    images = photos.astype(np.float32)
    extended = kf.FisherDetector(classifier, features="extended").features_of(images)
    paper = kf.FisherDetector(classifier, features="paper").features_of(images)
    assert extended.shape == (10, 20 + 3 * 9 + 2 + 10 + 9 + 2)
    np.testing.assert_array_equal(extended[:, :20], paper)


def test_other_temperatures_cost_no_further_pass(photos):
    """Counts the network's calls and backward passes in the graph."""

    def operations(*features):
        classifier = kf.Classifier(testing.small_net("dense", num_classes=4))
        detector = kf.FisherDetector(classifier, features=features)

        def run(batch):
            return detector.features_in_graph(detector.view(batch))

        graph = tf.function(run).get_concrete_function(tf.TensorSpec([None, 28, 28, 1])).graph
        # Products with the one weight of the net, in float32: the small algebra is float64.
        return sum(
            op.type in ("MatMul", "BatchMatMulV2") and op.outputs[0].dtype == tf.float32
            for op in graph.get_operations()
        )

    plain = operations(kinds.LogEigenvalues())
    more = [kinds.LogEigenvalues(temperature=t) for t in (5.0, 20.0, math.inf)]
    assert plain >= 4  # one forward, three backward
    assert operations(kinds.LogEigenvalues(), *more, kinds.LogTrace(), kinds.SpectralEntropy()) == plain
    assert operations(kinds.LogEigenvalues(), kinds.BlurChange()) == 2 * plain


def test_network_that_overflows_is_an_error_not_a_feature():
    inputs = keras.Input((2, 2, 1))
    hidden = keras.layers.Rescaling(1e30)(inputs)
    hidden = keras.layers.Multiply()([hidden, hidden])
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(hidden)))
    classifier = kf.Classifier.__new__(kf.Classifier)
    with pytest.raises(ValueError, match="`model` must return finite numbers"):
        classifier.__init__(model)
    fine = kf.Classifier(
        keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs))), bounds=None
    )
    fine.model.layers[-1].set_weights([np.full((4, 3), 1e10, np.float32), np.zeros(3, np.float32)])
    images = np.array([0.5, 1e30], np.float32)[:, None, None, None] * np.ones((2, 2, 2, 1), np.float32)
    with pytest.raises(ValueError, match="NaN or infinity for 1 of 2 images, first at index 1"):
        kf.FisherDetector(fine).features_of(images)


@pytest.fixture(scope="module")
def attacked(classifier, sample):
    return kf.attacks.FGM(epsilon=4.0)(classifier, *(part[:80] for part in sample))


@pytest.mark.parametrize("score", ["max_softmax", "entropy", "gradient_norm", "trace"])
def test_score_detector_orders_images_by_its_number(score, classifier, sample, attacked):
    images, result = sample[0], attacked
    detector = kf.detectors.ScoreDetector(classifier, score)
    detector.fit(images[:80][result.success], result.images[result.success])
    numbers = detector.features_of(images[80:180])[:, 0]
    scores = detector.score_samples(images[80:180])
    assert abs(scipy.stats.spearmanr(numbers, scores).statistic) > 0.999


def test_score_detector_refuses_an_unknown_score():
    model = testing.small_net("dense")
    with pytest.raises(ValueError, match=r"`score` must be one of 'max_softmax'.*got 'mean'"):
        kf.detectors.ScoreDetector(model, "mean")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: kinds.LogEigenvalues(count=0), ValueError, "`count` must be at least 1"),
        (lambda: kinds.LogEigenvalues(temperature=0.0), ValueError, "`temperature` must be"),
        (lambda: kinds.BlurChange(sigma=-1.0), ValueError, "`sigma` must be"),
        (lambda: kinds.LogBlurDivergence(sigma="1"), TypeError, "`sigma` must be a real number"),
        (lambda: kf.likelihoods.Categorical(temperature=-1.0), ValueError, "`temperature` must be"),
    ],
)
def test_bad_setting_of_a_feature_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("features", "error", "text"),
    [
        ((), ValueError, "an empty tuple"),
        (kinds.LogTrace, TypeError, "Pass an object, not its class"),
        ((kinds.LogTrace,), TypeError, "a tuple of objects of kf.detectors.features"),
        (["paper"], TypeError, "a tuple of objects"),
    ],
)
def test_bad_features_of_a_detector_are_refused(features, error, text):
    with pytest.raises(error, match=text):
        kf.FisherDetector(testing.small_net("dense"), features=features)


def test_features_survive_being_described():
    everything = (*kinds.EXTENSION, kinds.LogEigenvalues(4), kinds.LogDoubt(), kinds.LogEntropy())
    plain = json.loads(json.dumps(describe("features", everything), allow_nan=False))
    assert restore(plain) == everything


def test_spectrum_at_a_temperature_is_public(net, photos):
    found = kf.fisher_spectrum(kf.Classifier(net), photos, likelihood=kf.likelihoods.Categorical(5.0))
    expected = testing.reference_spectrum(testing.scaled_logits(net, 0.2), photos).eigenvalues
    np.testing.assert_allclose(found.eigenvalues[:, :2], expected[:, :2], rtol=RELATIVE)
