"""Detectors of the literature: formulas by another route, what all of them promise, what they refuse."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.classifiers.hidden_layers import HiddenLayers
from keras_fisher.detectors.baselines import (
    DensityUncertaintyDetector,
    DropoutUncertaintyDetector,
    KernelDensityDetector,
    LocalIntrinsicDimensionalityDetector,
    MahalanobisDetector,
)
from keras_fisher.detectors.baselines import squared_distances as distances_module
from keras_fisher.detectors.baselines.dropout_passes import DropoutPasses
from keras_fisher.detectors.baselines.dropout_uncertainty_detector import LOG_FLOOR, log_uncertainty
from keras_fisher.detectors.baselines.local_intrinsic_dimensionality_detector import MAX_DIMENSION
from keras_fisher.detectors.baselines.squared_distances import squared_distances

MAKE = {
    "density": lambda model, reference, **more: KernelDensityDetector(model, reference, **more),
    "uncertainty": lambda model, reference, **more: DropoutUncertaintyDetector(model, 6, **more),
    "both": lambda model, reference, **more: DensityUncertaintyDetector(model, reference, None, 6, **more),
    "dimension": lambda model, reference, **more: LocalIntrinsicDimensionalityDetector(
        model, reference, **more
    ),
    "mahalanobis": lambda model, reference, **more: MahalanobisDetector(model, reference, **more),
    "moved": lambda model, reference, **more: MahalanobisDetector(model, reference, 0.01, **more),
}
NUM_FEATURES = {
    "lenet5": {"density": 1, "uncertainty": 1, "both": 2, "dimension": 6, "mahalanobis": 6, "moved": 6},
    "mixed": {"density": 1, "uncertainty": 1, "both": 2, "dimension": 5, "mahalanobis": 5, "moved": 5},
}
LENET_LAYERS = ["convolution_1", "pool_1", "convolution_2", "pool_2", "dense_1", "dense_2"]


def mixed_net() -> keras.Model:
    """Sequential, ending in softmax, with batch normalisation and two kinds of dropout; three classes."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, strides=3, use_bias=False, name="convolution"),
            layers.BatchNormalization(name="normalisation"),
            layers.ReLU(name="relu"),
            layers.SpatialDropout2D(0.2),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(),
            layers.Dense(12, activation="relu", name="dense"),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="mixed",
    )
    generator = np.random.default_rng(0)
    for variable in model.weights:
        noise = generator.standard_normal(tuple(variable.shape))
        if variable.path.endswith(("gamma", "moving_variance")):
            variable.assign(1 + 0.3 * np.abs(noise))
        elif len(variable.shape) > 1:
            variable.assign(noise * np.sqrt(2 / np.prod(variable.shape[:-1])))
    # So that each class is the answer to some digits.
    last = keras.Model(model.inputs, model.layers[-2].output)([kf.datasets.mnist_sample()[0][:200]])
    logits = last.numpy() @ model.layers[-1].kernel.numpy()
    model.layers[-1].bias.assign(-np.median(logits, axis=0))
    return model


@pytest.fixture(scope="module")
def mixed() -> kf.Classifier:
    return kf.Classifier(mixed_net())


@pytest.fixture(scope="module")
def reference(sample) -> np.ndarray:
    return sample[0][500:700]


@pytest.fixture(scope="module")
def probes(sample) -> np.ndarray:
    return sample[0][:30]


@pytest.fixture(scope="module", params=[(net, kind) for net in NUM_FEATURES for kind in MAKE], ids="-".join)
def case(request, classifier, mixed, reference):
    """The net's name, the kind's name and a detector that the tests share."""
    net, kind = request.param
    return net, kind, MAKE[kind]({"lenet5": classifier, "mixed": mixed}[net], reference)


def layer_outputs(model: keras.Model, names: list[str], images: np.ndarray) -> list[np.ndarray]:
    """The outputs of layers by name, in float64: another way to see them than along the graph."""
    outputs = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    found = outputs([images], training=False)
    return [np.asarray(output, np.float64) for output in (found if len(names) > 1 else [found])]


# What all of them promise


def test_features_are_finite_float64_columns(case, probes):
    net, kind, detector = case
    features = detector.features_of(probes)
    assert features.shape == (30, NUM_FEATURES[net][kind])
    assert features.dtype == np.float64
    assert np.isfinite(features).all()
    # Not one number for all.
    assert (np.ptp(features, axis=0) > 0).all()
    assert detector.features_of(probes[:0]).shape == (0, NUM_FEATURES[net][kind])


def test_answer_depends_neither_on_the_batch_nor_on_the_order(case, probes):
    _, kind, detector = case
    features = detector.features_of(probes)
    one_by_one = np.concatenate([detector.features_of(image[None]) for image in probes])
    order = np.random.default_rng(0).permutation(len(probes))
    # Activations of the order of 10 in float32, in distances of the order of 100 to 1,000. A pixel whose
    # gradient is zero but for rounding may be moved either way.
    tolerance = {"rtol": 1e-3 if kind == "moved" else 2e-5, "atol": 1e-4}
    np.testing.assert_allclose(one_by_one, features, **tolerance)
    np.testing.assert_allclose(detector.features_of(probes[order]), features[order], **tolerance)


def test_dataset_of_batches_gives_what_the_array_gives(case, probes):
    dataset = tf.data.Dataset.from_tensor_slices((probes, np.zeros(30))).batch(30)
    np.testing.assert_array_equal(case[2].features_of(dataset), case[2].features_of(probes))


def test_clone_has_the_settings_and_is_not_fitted(case, probes):
    _, _, detector = case
    copy = clone(detector)
    assert type(copy) is type(detector)
    settings = detector.get_params()
    assert all(value is settings[name] for name, value in copy.get_params().items())
    assert copy.head == "logistic_regression"
    with pytest.raises(NotFittedError):
        copy.score_samples(probes)
    np.testing.assert_array_equal(copy.features_of(probes), detector.features_of(probes))


@pytest.mark.parametrize("kind", [kind for kind in MAKE if kind != "uncertainty"])
def test_clone_learns_the_reference_anew(kind, reference, probes):
    model = mixed_net()
    detector = MAKE[kind](kf.Classifier(model), reference)
    before = detector.features_of(probes)
    # Not by a factor, which dimensions and Mahalanobis distances do not see.
    model.get_layer("dense").kernel.assign(model.get_layer("dense").kernel.numpy()[::-1])
    fresh = MAKE[kind](kf.Classifier(model), reference).features_of(probes)
    assert not np.allclose(fresh, before, rtol=1e-3)
    np.testing.assert_allclose(clone(detector).features_of(probes), fresh, rtol=1e-5)


def test_reference_is_learnt_once_and_not_at_construction(mixed, reference, probes, monkeypatch):
    calls = []
    learn = KernelDensityDetector._learn
    monkeypatch.setattr(
        KernelDensityDetector, "_learn", lambda self, found: calls.append(1) or learn(self, found)
    )
    detector = KernelDensityDetector(mixed, reference)
    assert calls == []
    detector.features_of(probes)
    detector.features_of(probes[:3])
    assert calls == [1]


def test_batch_size_reaches_the_classifier(case, probes, monkeypatch):
    _, kind, detector = case
    detector.features_of(probes[:1])  # the reference is learnt by now
    seen = []
    original = kf.Classifier.batches

    def spy(self, images, batch_size=None):
        chunks = list(original(self, images, batch_size))
        seen.extend(len(chunk) for chunk in chunks)
        return iter(chunks)

    monkeypatch.setattr(kf.Classifier, "batches", spy)
    monkeypatch.setattr(detector, "batch_size", 13)
    detector.features_of(probes)
    # The detector of both features hands each batch on to two others.
    assert seen == ([13, 13, 4, 13, 13, 13, 13, 4, 4] if kind == "both" else [13, 13, 4])


@pytest.mark.parametrize("kind", ["density", "dimension", "mahalanobis", "both", "uncertainty"])
def test_finds_fgm_on_images_that_it_has_not_seen(kind, classifier, sample, reference):
    images, labels = (array[:300] for array in sample)
    result = kf.attacks.FGM(epsilon=4.0)(classifier, images, labels)
    keep = result.success & (result.norms > 0)
    clean, adversarial = images[keep], result.images[keep]
    assert len(clean) > 200
    detector = MAKE[kind](classifier, reference).fit(clean[:100], adversarial[:100])
    assert isinstance(detector.head_[-1], LogisticRegression)
    scores = np.concatenate([detector.score_samples(clean[100:]), detector.score_samples(adversarial[100:])])
    is_adversarial = np.repeat([False, True], len(clean) - 100)
    # Measured: density 0.91, dimension 0.94, Mahalanobis 0.80, both 0.97, uncertainty 0.96; the interval of
    # an AUC of 0.8 by 130 images of each kind is ±0.05.
    assert roc_auc_score(is_adversarial, scores) > 0.7


# Hidden layers


def test_hidden_layers_are_those_by_name(classifier, mixed, probes):
    hidden = HiddenLayers(classifier)
    assert list(hidden.names) == LENET_LAYERS
    layers, logits = hidden(probes)
    for found, expected in zip(layers, layer_outputs(classifier.model, LENET_LAYERS, probes), strict=True):
        # Float32, and a graph that may be fused otherwise.
        np.testing.assert_allclose(found, expected.reshape(30, -1), atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(logits, classifier.logits(probes), atol=1e-4)
    names = ["convolution", "normalisation", "relu", "pool", "dense"]
    assert list(HiddenLayers(mixed).names) == names
    layers, logits = HiddenLayers(mixed, pooled=True)(probes)
    for found, expected in zip(layers, layer_outputs(mixed.model, names, probes), strict=True):
        pooled = expected.mean(axis=(1, 2)) if expected.ndim == 4 else expected
        np.testing.assert_allclose(found, pooled, atol=1e-5 * np.abs(expected).max())
    # Under the softmax.
    np.testing.assert_allclose(logits, mixed.logits(probes), atol=1e-4)


def test_last_hidden_layer_is_the_input_of_the_logits(classifier, probes):
    hidden = HiddenLayers(classifier, only_last=True)
    assert hidden.names == ("dense_2",)
    (last,), logits = hidden(probes)
    kernel, bias = classifier.model.get_layer("logits").get_weights()
    np.testing.assert_allclose(last @ kernel + bias, logits, atol=1e-4)


@pytest.mark.parametrize(("activation", "from_logits"), [("sigmoid", "auto"), (None, True)])
def test_one_unit_shows_its_layers_and_drops_out_as_two_classes(activation, from_logits):
    layers = [
        keras.layers.Flatten(),
        keras.layers.Dense(6, activation="elu", name="hidden"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(1, activation=activation, kernel_initializer="ones"),
    ]
    net = kf.Classifier(keras.Sequential([keras.Input((4, 4, 1)), *layers]), from_logits)
    images = np.random.default_rng(0).uniform(size=(5, 4, 4, 1)).astype(np.float32)
    hidden = HiddenLayers(net)
    (values,), logits = hidden(images)
    assert hidden.names == ("hidden",)
    np.testing.assert_allclose(logits, net.logits(images), atol=1e-5)
    np.testing.assert_allclose(logits[:, 1], values.sum(axis=-1), atol=1e-5)
    passes = DropoutPasses(net).logits(images, seed=0, num_passes=3)
    assert passes.shape == (3, 5, 2)
    assert (passes[..., 0] == 0).all()
    assert passes[..., 1].std(axis=0).min() > 0
    # Of the probabilities alone no layer before the logits is known.
    if activation == "sigmoid":
        with pytest.warns(UserWarning, match="probabilities"):
            hiding = kf.Classifier(keras.Model(net.model.inputs, net.model.outputs[0] * 1.0))
        with pytest.raises(ValueError, match="`model` must show its logits, got probabilities only"):
            HiddenLayers(hiding)


def test_hidden_layers_of_a_graph_come_after_their_inputs():
    images = keras.Input((8, 8, 1))
    first = keras.layers.Conv2D(4, 3, padding="same", name="first")(images)
    branch = keras.layers.Conv2D(4, 3, padding="same", name="branch")(first)
    keras.layers.Dense(7, name="unused")(branch)
    added = keras.layers.Add(name="added")([branch, first])
    last = keras.layers.Flatten()(keras.layers.MaxPooling2D(name="last")(added))
    # As nets in mixed precision end.
    logits = keras.layers.Activation("linear")(keras.layers.Dense(3)(last))
    assert HiddenLayers(kf.Classifier(keras.Model(images, logits))).names == (
        "first",
        "branch",
        "added",
        "last",
    )


def test_models_that_hide_their_layers_are_refused(classifier):
    rule = r"`model` must have a layer between its images and the one that makes its logits, got .*Functional"
    images = keras.Input((28, 28, 1))
    inside = keras.Model(images, classifier.model(keras.layers.Rescaling(1.0)(images)))
    for hiding in (testing.small_net("dense"), kf.ensemble([classifier, classifier]).model, inside):
        with pytest.raises(ValueError, match=rule):
            HiddenLayers(kf.Classifier(hiding))


# Distances


@pytest.mark.parametrize("block", [1, 40, 2**23])
def test_squared_distances_are_scipys(block, monkeypatch):
    monkeypatch.setattr(distances_module, "_BLOCK_NUMBERS", block)
    generator = np.random.default_rng(0)
    # Far from the origin, where ‖p‖² + ‖c‖² − 2 p·c would lose 8 of 16 digits without centring.
    points, centres = (1e4 + generator.normal(size=(count, 9)) for count in (5, 7))
    found = squared_distances(points, centres)
    np.testing.assert_allclose(found, cdist(points, centres, "sqeuclidean"), rtol=1e-12)
    same = squared_distances(centres.astype(np.float32), centres.astype(np.float32))
    assert same.dtype == np.float64
    assert same.min() >= 0
    np.testing.assert_allclose(np.diag(same), 0, atol=1e-13)


# Kernel density


def last_by_class(classifier, images):
    """The input of the logits of LeNet-5, of the images of each predicted class."""
    last = layer_outputs(classifier.model, ["dense_2"], images)[0]
    predicted = classifier.predict(images)
    return [last[predicted == index] for index in range(10)]


def test_density_is_scikit_learns(classifier, reference, probes):
    features = KernelDensityDetector(classifier, reference, bandwidth=1.26).features_of(probes)
    predicted = classifier.predict(probes)
    theirs, ours = (last_by_class(classifier, images) for images in (reference, probes))
    for index in range(10):
        expected = KernelDensity(bandwidth=1.26).fit(theirs[index]).score_samples(ours[index])
        # Activations of the order of 10 to seven digits, d² / 2h² of the order of 100.
        np.testing.assert_allclose(features[predicted == index, 0], expected, rtol=1e-5)


def test_bandwidth_chosen_is_the_most_likely_when_each_image_is_left_out(classifier, reference):
    reference = reference[:100]
    detector = KernelDensityDetector(classifier, reference)
    assert detector.bandwidth is None
    chosen = detector.bandwidth_
    classes = last_by_class(classifier, reference)

    def likelihood(bandwidth):
        total = 0.0
        for points in classes:
            for left_out in range(len(points)):
                others = KernelDensity(bandwidth=bandwidth).fit(np.delete(points, left_out, axis=0))
                total += others.score(points[left_out : left_out + 1])
        return total

    # The steps of the search are 17 %: beside the best of all there may be one as good within a step.
    assert likelihood(chosen) > max(likelihood(chosen * 1.18), likelihood(chosen / 1.18))
    given = KernelDensityDetector(classifier, reference, bandwidth=chosen)
    np.testing.assert_array_equal(given.features_of(reference[:5]), detector.features_of(reference[:5]))


def test_density_far_from_everything_is_finite(mixed, reference, probes):
    # d² / 2h² of the order of 1e13: every term of the sum underflows.
    features = KernelDensityDetector(mixed, reference, bandwidth=1e-6).features_of(probes)
    assert np.isfinite(features).all()
    assert features.min() < -1e9


def test_density_needs_a_reference_of_every_class(classifier, sample):
    images, labels = sample
    detector = KernelDensityDetector(classifier, images[labels != 3][:50])
    rule = r"`reference` must hold an image for each class that the classifier takes for it"
    with pytest.raises(ValueError, match=rule + r", got none for class 3\. Pass more images"):
        detector.features_of(images[:2])


def test_bandwidth_cannot_be_chosen_by_images_that_are_all_the_same(mixed, reference):
    predicted = mixed.predict(reference)
    same = np.concatenate([reference[predicted == index][[0, 0]] for index in range(3)])
    with pytest.raises(ValueError, match=r"`reference` must hold images that differ.*or a bandwidth"):
        KernelDensityDetector(mixed, same).features_of(reference)
    assert np.isfinite(KernelDensityDetector(mixed, same, bandwidth=1.0).features_of(reference)).all()


# Dropout


def passes_of(layer: keras.layers.Layer, image: np.ndarray, count: int = 400) -> np.ndarray:
    """(count, pixels), what `layer` makes of an image in each pass, with nothing behind it."""
    shape = image.shape[1:]
    images = keras.Input(shape)
    dense = keras.layers.Dense(image.size)
    model = keras.Model(images, dense(keras.layers.Flatten()(layer(images))))
    dense.set_weights([np.eye(image.size), np.zeros(image.size)])
    passes = DropoutPasses(kf.Classifier(model, bounds=None))
    found = passes.logits(np.repeat(image, 2, axis=0), 0, count)
    # Every image of a batch loses the same units.
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    return found[:, 0]


@pytest.mark.parametrize("name", ["Dropout", "SpatialDropout2D", "AlphaDropout"])
def test_passes_drop_what_the_keras_layer_drops(name):
    layer = getattr(keras.layers, name)(0.25, seed=0)
    image = np.full((1, 2, 2, 3), 0.5, np.float32)
    found = passes_of(layer, image)
    keras_makes = np.asarray(layer(np.full((50, 2, 2, 3), 0.5, np.float32), training=True))
    dropped, kept = np.unique(keras_makes.round(4))
    np.testing.assert_array_equal(np.unique(found.round(4)), [dropped, kept])
    is_dropped = found.round(4) == dropped
    # 400 passes × 12 units, or × 3 where the four pixels of a channel are one: four standard deviations.
    independent = 1200 if name == "SpatialDropout2D" else 4800
    assert is_dropped.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / independent))
    channels = is_dropped.reshape(400, 4, 3)
    assert (channels == channels[:, :1]).all() == (name == "SpatialDropout2D")


def test_gaussian_dropout_multiplies_by_noise_of_its_variance():
    found = passes_of(keras.layers.GaussianDropout(0.2, seed=0), np.full((1, 2, 2, 1), 0.5, np.float32))
    # 1,600 numbers, and four standard deviations of a mean and of a standard deviation.
    deviation = 0.5 * np.sqrt(0.2 / 0.8)
    assert found.mean() == pytest.approx(0.5, abs=4 * deviation / 40)
    assert found.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * 1600))


def test_batch_normalisation_stays_in_inference_mode_in_passes():
    images = keras.Input((2, 2, 1))
    normalisation, dense = keras.layers.BatchNormalization(), keras.layers.Dense(4)
    hidden = keras.layers.Flatten()(normalisation(images))
    model = keras.Model(images, dense(keras.layers.Dropout(0.5)(hidden)))
    normalisation.set_weights([np.array([value]) for value in (2.0, 1.0, -3.0, 4.0)])
    dense.set_weights([np.eye(4), np.zeros(4)])
    before = [weight.copy() for weight in model.get_weights()]
    image = np.random.default_rng(0).uniform(size=(5, 2, 2, 1)).astype(np.float32)
    found = DropoutPasses(kf.Classifier(model)).logits(image, 0, 1)[0]
    normalised = 2 * (image.reshape(5, 4) + 3) / np.sqrt(4 + normalisation.epsilon) + 1
    is_kept = found != 0
    assert 0 < is_kept.sum() < found.size
    # A few roundings in float32.
    np.testing.assert_allclose(found[is_kept], 2 * normalised[is_kept], rtol=1e-6)
    # Seed states aside: the moving statistics are as they were.
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_two_dropout_layers_and_two_uses_of_one_drop_different_units():
    shared = keras.layers.Dropout(0.5)
    for layers in ([shared, keras.layers.Dropout(0.5)], [shared, shared]):
        images = keras.Input((4, 4, 1))
        hidden = images
        for layer in layers:
            hidden = layer(hidden)
        dense = keras.layers.Dense(16)
        model = keras.Model(images, dense(keras.layers.Flatten()(hidden)))
        dense.set_weights([np.eye(16), np.zeros(16)])
        passes = DropoutPasses(kf.Classifier(model))
        found = passes.logits(np.ones((1, 4, 4, 1), np.float32), 0, 100)[:, 0]
        # A quarter passes both; were the masks the same, a half. 1,600 units, five standard deviations.
        assert (found > 0).mean() == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / 1600))


def test_uncertainty_is_the_papers_formula_of_the_passes(classifier, probes):
    detector = DropoutUncertaintyDetector(classifier, num_samples=7, seed=3)
    passes = DropoutPasses(classifier)
    logits = passes.logits(probes, 3, 7).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = (p**2).sum(axis=-1).mean(axis=0) - (p.mean(axis=0) ** 2).sum(axis=-1)
    # The difference of numbers near one: exact to 1e-15, so compared where U is larger.
    is_large = expected > 1e-9
    assert is_large.sum() > 10
    found = np.exp(detector.features_of(probes)[:, 0])
    np.testing.assert_allclose(found[is_large], expected[is_large], rtol=1e-5)
    np.testing.assert_allclose(found[~is_large], expected[~is_large], atol=1e-14)


@pytest.mark.parametrize("gap", [5.0, 50.0, 100.0])
def test_uncertainty_of_sure_answers_is_exact(gap):
    # Two passes and two classes: p = 1 − δ₁ and 1 − δ₂, U = (δ₁ − δ₂)² / 2, with δ = 1 / (1 + e^gap).
    logits = np.array([[[gap, 0.0]], [[gap + 1, 0.0]]])
    log_difference = -gap + np.log((1 - np.exp(-1)) / (1 + np.exp(-gap)) / (1 + np.exp(-gap - 1)))
    np.testing.assert_allclose(log_uncertainty(logits), 2 * log_difference - np.log(2), rtol=1e-12)


def test_uncertainty_is_the_floor_where_passes_agree_or_underflow():
    agreeing = np.tile([3.0, 1.0, 0.0], (4, 1, 1))
    np.testing.assert_allclose(log_uncertainty(agreeing), LOG_FLOOR, rtol=1e-14)
    np.testing.assert_allclose(
        log_uncertainty(np.array([[[900.0, 0]], [[2000.0, 0]]])), LOG_FLOOR, rtol=1e-14
    )


def test_seed_and_number_of_passes_reach_the_uncertainty(classifier, probes):
    features = [
        DropoutUncertaintyDetector(classifier, num, seed=seed).features_of(probes)
        for num, seed in ((4, 0), (4, 0), (4, 1), (5, 0))
    ]
    np.testing.assert_array_equal(features[0], features[1])
    assert np.all(features[0] != features[2])
    assert np.all(features[0] != features[3])


def test_dropout_inside_a_model_inside_counts(mixed, probes):
    images = keras.Input((28, 28, 1))
    outer = kf.Classifier(keras.Model(images, mixed.model(images)))
    ours, theirs = (DropoutUncertaintyDetector(model, 4) for model in (outer, mixed))
    np.testing.assert_allclose(ours.features_of(probes), theirs.features_of(probes), atol=1e-4)


def test_passes_leave_the_classifier_as_it_was(probes):
    classifier = kf.Classifier(mixed_net())
    before = classifier.logits(probes)
    DropoutUncertaintyDetector(classifier, 4).features_of(probes)
    np.testing.assert_array_equal(classifier.logits(probes), before)
    np.testing.assert_array_equal(kf.Classifier(classifier.model).logits(probes), before)


def test_both_features_are_those_of_the_two(classifier, reference, probes):
    both = DensityUncertaintyDetector(classifier, reference, 0.8, 5, seed=2)
    density = KernelDensityDetector(classifier, reference, 0.8)
    uncertainty = DropoutUncertaintyDetector(classifier, 5, seed=2)
    expected = np.concatenate([part.features_of(probes) for part in (density, uncertainty)], axis=1)
    np.testing.assert_array_equal(both.features_of(probes), expected)
    assert both.bandwidth_ == 0.8


# Local intrinsic dimension


def test_dimension_is_the_papers_formula_by_a_plain_loop(classifier, reference, probes):
    detector = LocalIntrinsicDimensionalityDetector(classifier, reference, num_neighbors=15)
    features = detector.features_of(probes)
    ours = layer_outputs(classifier.model, LENET_LAYERS, probes)
    theirs = layer_outputs(classifier.model, LENET_LAYERS, reference)
    for column, (points, centres) in enumerate(zip(ours, theirs, strict=True)):
        for row, point in enumerate(points):
            r = sorted(np.linalg.norm(point - centre) for centre in centres)[:15]
            expected = -1 / np.mean([np.log(r_i / r[-1]) for r_i in r])
            # Distances in float32 activations, to six digits or so.
            assert features[row, column] == pytest.approx(expected, rel=1e-4)


def test_dimension_of_a_ball_is_its_dimension():
    # The reference fills a ball around the image: the net passes pixels on.
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(4000, 3))
    directions *= (generator.uniform(size=(4000, 1)) ** (1 / 3)) / np.linalg.norm(
        directions, axis=1, keepdims=True
    )
    images = keras.Input((1, 1, 3))
    hidden = keras.layers.Rescaling(2.0, name="pass")(images)
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(hidden)))
    detector = LocalIntrinsicDimensionalityDetector(
        kf.Classifier(model, bounds=None), directions.reshape(-1, 1, 1, 3), num_neighbors=400
    )
    # The estimate from k neighbours is off by 1/√k: three of these.
    assert detector.features_of(np.zeros((1, 1, 1, 3)))[0, 0] == pytest.approx(3, rel=3 / 20)


def test_dimension_is_defined_where_neighbours_coincide_or_are_equally_far():
    images = keras.Input((1, 1, 2))
    hidden = keras.layers.Rescaling(1.0)(images)
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(hidden)))
    reference = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]).reshape(4, 1, 1, 2)
    make = LocalIntrinsicDimensionalityDetector
    classifier = kf.Classifier(model, bounds=None)
    origin = np.zeros((1, 1, 1, 2))
    assert make(classifier, reference, 4).features_of(origin) == MAX_DIMENSION
    assert make(classifier, np.repeat(origin, 4, axis=0), 4).features_of(origin) == 0
    # One of four neighbours coincides with the image: finite, and small.
    one_inside = make(classifier, np.concatenate([origin, reference]), 4)
    assert 0 < one_inside.features_of(origin) < 1


# Mahalanobis


def gaussians_of(layer, predicted, shrinkage):
    """The means of the classes and Σ⁻¹, by a plain loop over images."""
    means = {index: layer[predicted == index].mean(axis=0) for index in set(predicted.tolist())}
    covariance = sum(
        np.outer(row - means[index], row - means[index])
        for row, index in zip(layer, predicted.tolist(), strict=True)
    ) / len(layer)
    mean_variance = np.mean(np.diag(covariance))
    shrunk = (1 - shrinkage) * covariance + shrinkage * mean_variance * np.eye(len(covariance))
    return means, np.linalg.inv(shrunk)


@pytest.mark.parametrize("shrinkage", [1e-3, 0.2])
def test_confidence_is_scipys_mahalanobis_distance(shrinkage, classifier, reference, probes):
    detector = MahalanobisDetector(classifier, reference, shrinkage=shrinkage)
    features = detector.features_of(probes)
    predicted = classifier.predict(reference)
    ours = layer_outputs(classifier.model, LENET_LAYERS, probes)
    theirs = layer_outputs(classifier.model, LENET_LAYERS, reference)
    for column, (points, layer) in enumerate(zip(ours, theirs, strict=True)):
        if points.ndim == 4:
            points, layer = points.mean(axis=(1, 2)), layer.mean(axis=(1, 2))
        means, inverse = gaussians_of(layer, predicted, shrinkage)
        expected = [
            -min(mahalanobis(point, mean, inverse) ** 2 for mean in means.values()) for point in points
        ]
        # Means over positions in float32, divided by standard deviations some 30 times smaller than the mean.
        np.testing.assert_allclose(features[:, column], expected, rtol=1e-3)


def test_magnitude_moves_pixels_along_the_gradient_of_the_confidence():
    # A linear net, f = K x, whose gradient is known: ∇ −(f−μ)ᵀΣ⁻¹(f−μ) = −2 Kᵀ Σ⁻¹ (f−μ).
    generator = np.random.default_rng(0)
    images = keras.Input((2, 2, 1))
    hidden, dense = keras.layers.Dense(3), keras.layers.Dense(2)
    model = keras.Model(images, dense(hidden(keras.layers.Flatten()(images))))
    classifier = kf.Classifier(model)
    hidden.set_weights([generator.normal(size=(4, 3)), generator.normal(size=3)])
    dense.set_weights([generator.normal(size=(3, 2)), np.zeros(2)])
    reference, probes = generator.uniform(size=(2, 40, 2, 2, 1)).astype(np.float32)
    dense.bias.assign(-classifier.logits(reference).mean(axis=0))
    kernel, bias = (weight.astype(np.float64) for weight in hidden.get_weights())
    means, inverse = gaussians_of(
        reference.reshape(40, 4).astype(np.float64) @ kernel + bias, classifier.predict(reference), 1e-3
    )
    assert len(means) == 2
    features = probes.reshape(40, 4) @ kernel + bias
    moved = []
    for pixels, f in zip(probes.reshape(40, 4), features, strict=True):
        mean = min(means.values(), key=lambda mean: mahalanobis(f, mean, inverse))
        moved.append(np.clip(pixels - 0.05 * np.sign(kernel @ inverse @ (f - mean)), 0, 1))
    moved = np.reshape(moved, probes.shape)
    plain = MahalanobisDetector(classifier, reference)
    found = MahalanobisDetector(classifier, reference, magnitude=0.05).features_of(probes)
    np.testing.assert_allclose(found, plain.features_of(moved), rtol=1e-4, atol=1e-5)
    # Up, as a rule: where the nearest mean is nearer than the step, beyond it.
    assert (found > plain.features_of(probes)).mean() > 0.8


def test_confidence_takes_classes_that_the_reference_has(classifier, sample):
    images, labels = sample
    detector = MahalanobisDetector(classifier, images[labels < 2][:60])
    features = detector.features_of(images[labels >= 2][:20])
    assert np.isfinite(features).all()
    assert (features[:, -1] < detector.features_of(images[labels < 2][60:80])[:, -1].min()).mean() > 0.8


def test_dead_layer_has_a_finite_confidence(reference, probes):
    model = mixed_net()
    dense = model.get_layer("dense")
    dense.set_weights([0 * dense.kernel.numpy(), -np.ones(12)])
    features = MahalanobisDetector(kf.Classifier(model), reference).features_of(probes)
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features[:, -1], 0)


# Refusals

BAD = {
    "bandwidth": (
        lambda model, images: KernelDensityDetector(model, images, bandwidth=0.0),
        ValueError,
        r"`bandwidth` must be a finite number of at least 1e-100, got 0.0\. None chooses one",
    ),
    "bandwidth-type": (
        lambda model, images: DensityUncertaintyDetector(model, images, bandwidth="wide"),
        TypeError,
        r"`bandwidth` must be a real number, got 'wide'",
    ),
    "num_samples": (
        lambda model, images: DropoutUncertaintyDetector(model, 1),
        ValueError,
        r"`num_samples` must be at least 2, got 1",
    ),
    "num_neighbors": (
        lambda model, images: LocalIntrinsicDimensionalityDetector(model, images, 1),
        ValueError,
        r"`num_neighbors` must be at least 2, got 1",
    ),
    "too-few-neighbors": (
        lambda model, images: LocalIntrinsicDimensionalityDetector(model, images[:19]),
        ValueError,
        r"`reference` must hold at least 20 images, got 19\. Pass clean images",
    ),
    "magnitude": (
        lambda model, images: MahalanobisDetector(model, images, magnitude=-0.1),
        ValueError,
        r"`magnitude` must be a finite number of at least 0, got -0.1",
    ),
    "shrinkage": (
        lambda model, images: MahalanobisDetector(model, images, shrinkage=0.0),
        ValueError,
        r"`shrinkage` must be a finite number in \(0, 1\], got 0.0",
    ),
    "reference-of-one": (
        lambda model, images: KernelDensityDetector(model, images[:1]),
        ValueError,
        r"`reference` must hold at least 2 images, got 1",
    ),
    "reference-shape": (
        lambda model, images: MahalanobisDetector(model, images[0]),
        ValueError,
        r"`reference` must have the shape \(batch, 28, 28, 1\), got \(28, 28, 1\)",
    ),
    "reference-bounds": (
        lambda model, images: DensityUncertaintyDetector(model, 255 * images),
        ValueError,
        r"`reference` must be within the bounds \[0, 1\].*Divide 8-bit",
    ),
    "no-dropout": (
        lambda model, images: DropoutUncertaintyDetector(testing.small_net("depthwise")),
        ValueError,
        r"`model` must have a Dropout layer of a rate above 0.*got 'depthwise', which has none\. Score it by",
    ),
    "hidden": (
        lambda model, images: MahalanobisDetector(testing.small_net("dense"), images),
        ValueError,
        r"`model` must have a layer between its images and",
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_settings_are_refused_at_construction(name, classifier, reference):
    make, error, text = BAD[name]
    with pytest.raises(error, match=text):
        make(classifier, reference)


def test_dropout_of_rate_zero_is_none():
    layers = [
        keras.Input((4, 4, 1)),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.0),
        keras.layers.Dense(2),
    ]
    with pytest.raises(ValueError, match="have a Dropout layer of a rate above 0"):
        DropoutUncertaintyDetector(keras.Sequential(layers))


def test_images_of_another_size_than_the_reference_are_refused():
    images = keras.Input((None, None, 1))
    hidden = keras.layers.Conv2D(3, 3, name="maps")(images)
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(hidden)))
    classifier = kf.Classifier(model)
    generator = np.random.default_rng(0)
    small, large = generator.uniform(size=(6, 8, 8, 1)), generator.uniform(size=(6, 9, 9, 1))
    detector = LocalIntrinsicDimensionalityDetector(classifier, small, 3)
    with pytest.raises(
        ValueError, match=r"`images` must be of the shape \(8, 8, 1\) of the reference, got \(9"
    ):
        detector.features_of(large)
    # Channel means do not mind.
    assert MahalanobisDetector(classifier, small).features_of(large).shape == (6, 2)


def test_save_refuses_images_among_the_settings(mixed, reference, probes, tmp_path):
    noise = np.random.default_rng(0).uniform(size=probes.shape).astype(np.float32)
    detector = KernelDensityDetector(mixed, reference).fit(probes, noise)
    with pytest.raises(TypeError, match="`reference` must be plain"):
        detector.save(tmp_path / "detector")
    assert not (tmp_path / "detector").exists()


def test_layers_before_the_first_dropout_run_once():
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            tf.py_function(lambda: calls.append(0), [], [])
            return inputs

    inputs = keras.Input((4, 4, 1))
    hidden = keras.layers.Flatten()(Counting()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.5)(hidden)))
    classifier = kf.Classifier(model)
    passes = DropoutPasses(classifier)
    images = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype(np.float32)
    passes.logits(images, 0, 1)
    calls.clear()
    passes.logits(images, 0, 20)
    assert len(calls) == 1


def test_model_whose_branches_pass_the_dropout_by_is_run_whole():
    inputs = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(inputs)
    both = keras.layers.Concatenate()([keras.layers.Dropout(0.5)(flat), flat])
    model = keras.Model(inputs, keras.layers.Dense(3)(both))
    images = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype(np.float32)
    logits = DropoutPasses(kf.Classifier(model)).logits(images, 0, 5)
    kernel, bias = (weight.numpy() for weight in model.layers[-1].weights)
    # What passes by is there whole: less it, each logit is a sum over units that are dropped or doubled.
    rest = logits - (images.reshape(3, 16) @ kernel[16:] + bias)
    for row, image in zip(rest[0], images.reshape(3, 16), strict=False):
        terms = 2 * image[:, None] * kernel[:16]
        assert row.shape == (3,)
        assert np.all(row <= np.maximum(terms, 0).sum(axis=0) + 1e-5)
        assert np.all(row >= np.minimum(terms, 0).sum(axis=0) - 1e-5)
    assert np.abs(np.diff(rest, axis=0)).max() > 1e-3


def test_dropout_detector_is_saved_and_loaded(classifier, tmp_path):
    images, labels = kf.datasets.mnist_sample()
    result = kf.attacks.FGM(4.0)(classifier, images[:40], labels[:40])
    detector = DropoutUncertaintyDetector(classifier, num_samples=4)
    detector.fit(images[:40][result.success], result.images[result.success])
    again = kf.load_detector(detector.save(tmp_path / "dropout"))
    assert again.num_samples == 4
    np.testing.assert_array_equal(again.score_samples(images[40:60]), detector.score_samples(images[40:60]))


def test_detector_with_reference_images_says_why_it_is_not_saved(classifier, tmp_path):
    images, labels = kf.datasets.mnist_sample()
    result = kf.attacks.FGM(4.0)(classifier, images[:40], labels[:40])
    detector = KernelDensityDetector(classifier, images[100:300])
    detector.fit(images[:40][result.success], result.images[result.success])
    assert "reference=<array (200, 28, 28, 1)>" in repr(detector)
    with pytest.raises(TypeError, match=r"`reference` must be plain.*got an array of shape \(200, 28"):
        detector.save(tmp_path / "density")
    assert not list(tmp_path.iterdir())
