"""Curves over epsilon and iterations, transfer between nets, and settings that are refused."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from tests.linear_models import flat


@pytest.fixture(scope="module")
def linear() -> tuple[kf.Classifier, np.ndarray, np.ndarray, np.ndarray]:
    """A softmax regression on 4 × 4 images, unbounded, with images, their classes and exact least norms."""
    model = testing.small_net("dense", num_classes=4, image_shape=(4, 4, 1), seed=2)
    pixels = np.random.default_rng(0).uniform(size=(40, 4, 4, 1)).astype(np.float32)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    logits = pixels.reshape(40, -1) @ kernel + bias
    top = logits.argmax(axis=-1)
    distances = np.full((40, 4), np.inf)
    for row, label in enumerate(top):
        for other in range(4):
            if other != label:
                normal = kernel[:, other] - kernel[:, label]
                distances[row, other] = (logits[row, label] - logits[row, other]) / np.linalg.norm(normal)
    return kf.Classifier(model, bounds=None), pixels, top, distances


def test_least_perturbation_meets_the_closed_form_on_a_linear_model(linear):
    classifier, pixels, top, distances = linear
    # Two classes that matter: along the gradient of a softmax regression the boundary is met where the
    # nearest logit overtakes. Along each unit direction d the least step is the first of gap / slope.
    attack = kf.attacks.FGM(clip=False)
    least = kf.attacks.least_perturbation(attack, classifier, pixels, top, bracket=(0.0, 12.0))
    direction = flat(attack(classifier, pixels, top).images - pixels)
    kernel, bias = (weight.astype(np.float64) for weight in classifier.model.layers[-1].get_weights())
    logits, slopes = flat(pixels) @ kernel + bias, direction @ kernel
    gaps = logits[np.arange(40), top][:, None] - logits
    rates = slopes - slopes[np.arange(40), top][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.where((gaps > 0) & (rates > 0), gaps / rates, np.inf).min(axis=-1)
    reachable = crossings < 11.9
    assert reachable.sum() > 20
    np.testing.assert_array_equal(least.success, reachable)
    np.testing.assert_allclose(least.norms[reachable], crossings[reachable], rtol=1e-2, atol=2e-3)
    assert (least.norms[reachable] >= distances.min(axis=-1)[reachable] * (1 - 1e-4)).all()
    np.testing.assert_allclose(least.norms, least.epsilons, rtol=1e-4, atol=1e-6)
    assert np.isnan(least.norms[~reachable]).all()
    np.testing.assert_array_equal(classifier.predict(least.images) != top, least.success)


def test_two_classes_ossa_and_fgm_reach_the_analytic_least_norm():
    model = testing.small_net("dense", num_classes=2, image_shape=(4, 4, 1), seed=5)
    pixels = np.random.default_rng(3).uniform(size=(30, 4, 4, 1)).astype(np.float32)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    normal = kernel[:, 0] - kernel[:, 1]
    expected = np.abs(flat(pixels) @ normal + bias[0] - bias[1]) / np.linalg.norm(normal)
    for attack in (kf.attacks.OSSA(clip=False), kf.attacks.FGM(clip=False)):
        least = kf.attacks.least_perturbation(
            attack, model, pixels, bracket=(0.0, 1.1 * expected.max()), num_refined=12
        )
        assert least.success.all()
        np.testing.assert_allclose(least.norms, expected, rtol=1e-2)
        np.testing.assert_allclose(least.mean_norm, expected.mean(), rtol=1e-2)


class Bump(keras.layers.Layer):
    """Logits of a one-pixel image that are fooled between 1 and 2 and beyond 5, not in between."""

    def call(self, inputs):
        x = keras.ops.reshape(inputs, (-1, 1))
        score = (x - 1.0) * (x - 2.0) * (x - 5.0)
        return keras.ops.concatenate([0.0 * score, score], axis=-1)


def test_least_perturbation_finds_the_first_success_where_fooling_is_not_monotone():
    inputs = keras.Input((1, 1, 1))
    classifier = kf.Classifier(keras.Model(inputs, Bump()(inputs)), bounds=None)
    images = np.zeros((3, 1, 1, 1))
    # Plain bisection of [0, 6] looks at 3 first (not fooled), then at 4.5 (not fooled), and answers 5.
    least = kf.attacks.least_perturbation(kf.attacks.FGM(), classifier, images, bracket=(0.0, 6.0))
    np.testing.assert_allclose(least.norms, 1.0, atol=2e-3)


def test_failed_and_finished_images_of_a_search(classifier, sample):
    images, labels = sample[0][:30], sample[1][:30].copy()
    labels[0] = (classifier.predict(images[:1])[0] + 1) % 10  # Wrong from the start.
    least = kf.attacks.least_perturbation(
        kf.attacks.OSSA(), classifier, images, labels, bracket=(0.0, 1.0), num_scanned=4, num_refined=3
    )
    assert least.success[0]
    assert least.norms[0] == 0.0
    np.testing.assert_array_equal(least.images[0], images[0])
    failed = ~least.success
    assert failed.any()
    # A failure is the attempt at the upper end, never zeros.
    expected = kf.attacks.OSSA(epsilon=1.0)(classifier, images, labels).images
    np.testing.assert_allclose(least.images[failed], expected[failed], atol=1e-6)
    assert np.isnan(least.epsilons[failed]).all()
    assert np.isnan(least.norms[failed]).all()
    assert np.isfinite(least.mean_norm)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"bracket": (2.0, 1.0)}, ValueError),
        ({"bracket": (-1.0, 1.0)}, ValueError),
        ({"bracket": 3.0}, ValueError),
        ({"num_scanned": 0}, ValueError),
        ({"num_refined": -1}, ValueError),
        ({"batch_size": 0}, ValueError),
    ],
)
def test_bad_searches_are_refused(options, error, classifier, images):
    with pytest.raises(error):
        kf.attacks.least_perturbation(kf.attacks.FGM(), classifier, images, **options)
    with pytest.raises(TypeError, match=r"kf\.attacks"):
        kf.attacks.least_perturbation("fgm", classifier, images)


def test_fooling_curve_is_the_attack_at_each_epsilon(classifier, images, labels):
    for attack in (kf.attacks.OSSA(), kf.attacks.BIM(steps=5)):
        curve = kf.attacks.fooling_curve(attack, classifier, images, labels, [0.0, 1.0, 2.5])
        np.testing.assert_array_equal(curve.values, [0.0, 1.0, 2.5])
        for row, epsilon in ((1, 1.0), (2, 2.5)):
            single = dataclasses.replace(attack, epsilon=epsilon)(classifier, images, labels)
            np.testing.assert_array_equal(curve.success[row], single.success)
        np.testing.assert_array_equal(curve.success[0], classifier.predict(images) != labels)
        np.testing.assert_allclose(curve.rates, curve.success.mean(axis=1))


def test_fooling_curve_over_iterations_is_the_attack_with_as_many(classifier, images, labels):
    attack = kf.attacks.BIM(epsilon=6.0, step_size=0.3)
    curve = kf.attacks.fooling_curve(attack, classifier, images, labels, iterations=[0, 2, 5])
    for row, steps in ((1, 2), (2, 5)):
        single = dataclasses.replace(attack, steps=steps)(classifier, images, labels)
        np.testing.assert_array_equal(curve.success[row], single.success)
    assert curve.rates[2] > curve.rates[0]


@pytest.mark.parametrize(
    ("attack", "options", "error", "words"),
    [
        (kf.attacks.FGM(), {}, ValueError, "neither"),
        (kf.attacks.FGM(), {"epsilons": [1.0], "iterations": [1]}, ValueError, "both"),
        (kf.attacks.FGM(), {"epsilons": [-1.0]}, ValueError, "`epsilons`"),
        (kf.attacks.FGM(), {"epsilons": [float("nan")]}, ValueError, "`epsilons`"),
        (kf.attacks.FGM(), {"epsilons": []}, ValueError, "`epsilons`"),
        (kf.attacks.FGM(), {"epsilons": "big"}, TypeError, "`epsilons`"),
        (kf.attacks.FGM(), {"iterations": [1]}, TypeError, "iterative"),
        (kf.attacks.BIM(), {"iterations": [1]}, ValueError, "`step_size`"),
        (kf.attacks.BIM(step_size=0.1), {"iterations": [1.5]}, TypeError, "`iterations`"),
        (kf.attacks.BIM(step_size=0.1, early_stop=False), {"iterations": [1]}, ValueError, "`early_stop`"),
        (kf.attacks.PGD(step_size=0.1, restarts=2), {"iterations": [1]}, ValueError, "`restarts`"),
        (kf.attacks.DDN(), {"epsilons": [1.0]}, TypeError, "call it"),
        (kf.attacks.FGM, {"epsilons": [1.0]}, TypeError, r"FGM\(\)"),
    ],
)
def test_bad_curves_are_refused(attack, options, error, words, classifier, images):
    with pytest.raises(error, match=words):
        kf.attacks.fooling_curve(attack, classifier, images, **options)


def test_least_perturbation_refuses_attacks_without_epsilon(classifier, images):
    with pytest.raises(TypeError, match="call it"):
        kf.attacks.least_perturbation(kf.attacks.CarliniWagner(), classifier, images)


def test_transfer_matrix_is_each_net_on_the_images_of_each(lenet, sample):
    images, labels = sample[0][:60], sample[1][:60].copy()
    other = testing.scaled_logits(lenet, 0.5)
    weak = keras.models.clone_model(lenet)
    weak.set_weights([weight + 0.02 * np.sign(weight) for weight in lenet.get_weights()])
    labels[7] = (labels[7] + 1) % 10  # no net is right
    nets = {"a": lenet, "b": other, "c": weak}
    attack = kf.attacks.FGM(epsilon=3.0)
    matrix = kf.attacks.transfer_matrix(attack, nets, images, labels)
    assert matrix.names == ("a", "b", "c")
    right = np.all([kf.Classifier(net).predict(images) == labels for net in nets.values()], axis=0)
    np.testing.assert_array_equal(matrix.is_counted, right)
    assert not right[7]
    assert matrix.num_images == right.sum()
    for column, source in enumerate(nets.values()):
        crafted = attack(source, images, labels)
        for row, target in enumerate(nets.values()):
            fooled = kf.Classifier(target).predict(crafted.images) != labels
            np.testing.assert_array_equal(matrix.success[row, column], fooled)
            assert matrix.rates[row, column] == pytest.approx(fooled[right].mean())
            among = right & crafted.success
            assert matrix.rates_of_successful[row, column] == pytest.approx(fooled[among].mean())
    np.testing.assert_allclose(np.diagonal(matrix.rates_of_successful), 1.0)
    # Scaled logits have the same boundary, and a gradient in the same direction up to the softmax.
    assert matrix.rates[1, 0] == matrix.rates[0, 0]


def test_transfer_matrix_reads_a_shuffled_dataset_once(lenet, sample):
    data = tf.data.Dataset.from_tensor_slices((sample[0][:30], sample[1][:30])).shuffle(30, seed=1).batch(7)
    nets = {"a": lenet, "b": lenet}
    matrix = kf.attacks.transfer_matrix(kf.attacks.FGM(2.0), nets, data)
    np.testing.assert_array_equal(matrix.success[0], matrix.success[1])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"labels": None}, ValueError, "`labels` must be given"),
        ({"labels": None, "images": "dataset"}, ValueError, "`labels` must be given"),
        ({"classifiers": {}}, ValueError, "`classifiers`"),
        ({"classifiers": []}, TypeError, "`classifiers` must be a dict"),
        ({"attack": "fgm"}, TypeError, "`attack`"),
        ({"attack": kf.attacks.FGM}, TypeError, "`attack`"),
    ],
)
def test_bad_transfer_matrices_are_refused(options, error, words, lenet, images, labels):
    arguments = {"attack": kf.attacks.FGM(), "classifiers": {"a": lenet}, "labels": labels, "images": images}
    arguments |= options
    if options.get("images") == "dataset":
        arguments["images"] = tf.data.Dataset.from_tensor_slices(images).batch(5)
    with pytest.raises(error, match=words):
        kf.attacks.transfer_matrix(**arguments)


def test_transfer_needs_the_same_classes(lenet, images, labels):
    nets = {"a": lenet, "b": testing.small_net("dense", num_classes=4)}
    with pytest.raises(ValueError, match="share their classes"):
        kf.attacks.transfer_matrix(kf.attacks.FGM(), nets, images, labels)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: kf.attacks.BIM(steps=0), ValueError, "`steps`"),
        (lambda: kf.attacks.BIM(step_size=0.0), ValueError, "`step_size`"),
        (lambda: kf.attacks.BIM(epsilon=float("nan")), ValueError, "`epsilon`"),
        (lambda: kf.attacks.BIM(epsilon=-1.0), ValueError, "`epsilon`"),
        (lambda: kf.attacks.BIM(early_stop=1), TypeError, "`early_stop`"),
        (lambda: kf.attacks.PGD(restarts=0), ValueError, "`restarts`"),
        (lambda: kf.attacks.PGD(random_start=False, restarts=2), ValueError, "`restarts`"),
        (lambda: kf.attacks.PGD(seed=-1), ValueError, "`seed`"),
        (lambda: kf.attacks.OTCM(target="likely"), ValueError, "`target`"),
        (lambda: kf.attacks.IterativeOTCM(target=3), ValueError, "`target`"),
        (lambda: kf.attacks.IterativeOSSA(tolerance=0.0), ValueError, "`tolerance`"),
        (lambda: kf.attacks.OSSA(eigenvector=0), ValueError, "`eigenvector`"),
        (lambda: kf.attacks.OSSA(num_eigenvectors=0), ValueError, "`num_eigenvectors`"),
        (lambda: kf.attacks.OSSA(targeted=True), ValueError, "`targeted` must be False for OSSA"),
        (lambda: kf.attacks.DeepFool(candidates=1), ValueError, "`candidates`"),
        (lambda: kf.attacks.DeepFool(overshoot=0.0), ValueError, "`overshoot`"),
        (lambda: kf.attacks.DeepFool(relaxation=1.5), ValueError, "`relaxation`"),
        (lambda: kf.attacks.DeepFool(targeted=True), ValueError, "`targeted`"),
        (lambda: kf.attacks.DDN(gamma=1.0), ValueError, "`gamma`"),
        (lambda: kf.attacks.DDN(initial_norm=0.0), ValueError, "`initial_norm`"),
        (lambda: kf.attacks.CarliniWagner(confidence=-1.0), ValueError, "`confidence`"),
        (lambda: kf.attacks.CarliniWagner(binary_search_steps=0), ValueError, "`binary_search_steps`"),
        (lambda: kf.attacks.CarliniWagner(initial_const=0.0), ValueError, "`initial_const`"),
        (lambda: kf.attacks.Opt(step_size=float("inf")), ValueError, "`step_size`"),
        (lambda: kf.attacks.Opt(abort_early="yes"), TypeError, "`abort_early`"),
        (lambda: kf.attacks.random_targets([1, 2], 1), ValueError, "`num_classes`"),
        (lambda: kf.attacks.random_targets([1, 12], 10), ValueError, "`labels`"),
        (lambda: kf.attacks.random_targets(3, 10), ValueError, "`labels`"),
    ],
)
def test_bad_settings_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
