"""What a Classifier finds in a model, and what it refuses."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.classifiers import class_odds
from keras_fisher.classifiers.programs import Programs
from keras_fisher.classifiers.reading import output_activation_of

SHAPE = (6, 6, 1)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(4, *SHAPE)).astype(np.float32)


def body() -> list[keras.layers.Layer]:
    keras.utils.set_random_seed(0)
    return [keras.Input(SHAPE), layers.Conv2D(3, 3, activation="relu"), layers.Flatten()]


def sharp(units: int = 4, **options) -> keras.layers.Dense:
    """A last layer with logits of ±100: their softmax is 0 and 1 in float32."""
    return layers.Dense(
        units, kernel_initializer=keras.initializers.RandomNormal(stddev=30.0, seed=1), **options
    )


def ending_variants() -> dict[str, keras.Model]:
    """One net, ending in its softmax in all the ways that Keras has."""
    nested = keras.Sequential([keras.Input((48,)), sharp(), layers.Softmax()])
    return {
        "dense": keras.Sequential([*body(), sharp(activation="softmax")]),
        "softmax layer": keras.Sequential([*body(), sharp(), layers.Softmax()]),
        "activation layer": keras.Sequential([*body(), sharp(), layers.Activation("softmax")]),
        "dropout after": keras.Sequential([*body(), sharp(activation="softmax"), layers.Dropout(0.5)]),
        "nested": keras.Sequential([*body(), nested]),
    }


@pytest.mark.parametrize("ending", ending_variants())
def test_logits_are_found_under_every_final_softmax(ending, pixels):
    plain = keras.Sequential([*body(), sharp()])
    expected = plain(pixels).numpy()
    model = ending_variants()[ending]
    assert output_activation_of(model) == "softmax"
    found = kf.Classifier(model).logits(pixels)
    # Softmax forgets a constant; nothing is added here, so that the logits are the same numbers.
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (model(pixels, training=False).numpy() == 0).any()  # It does saturate.
    assert np.isfinite(kf.Classifier(model).log_probabilities(pixels)).all()


def test_weights_set_later_are_seen_under_a_stripped_softmax(pixels):
    model = keras.Sequential([*body(), sharp(activation="softmax")])
    classifier = kf.Classifier(model)
    before = classifier.logits(pixels)
    model.layers[-1].set_weights([2.0 * weight for weight in model.layers[-1].get_weights()])
    np.testing.assert_allclose(classifier.logits(pixels), 2.0 * before, rtol=1e-5)
    model.layers[-1].trainable = False
    np.testing.assert_allclose(kf.Classifier(model).logits(pixels), 2.0 * before, rtol=1e-5)


def test_the_wrapped_model_is_left_as_it_was(pixels):
    model = keras.Sequential([*body(), sharp(activation="softmax")])
    before = model(pixels).numpy()
    kf.fisher_spectrum(kf.Classifier(model), pixels, solver="exact")
    np.testing.assert_array_equal(model(pixels).numpy(), before)
    assert output_activation_of(model) == "softmax"


@pytest.mark.parametrize("kind", [kf.Classifier, lambda model: kf.Network(model, "softmax")])
def test_a_network_that_is_made_while_a_graph_is_traced_is_the_same(kind, pixels):
    model = keras.Sequential([*body(), sharp(activation="softmax")])

    @tf.function
    def scores(images):
        return kind(model).target.logits(images)

    np.testing.assert_allclose(scores(pixels), kind(model).outputs_of(pixels), atol=1e-5)


def test_what_needs_values_is_refused_while_a_graph_is_traced(lenet, images):
    calls = [
        lambda data: kf.fisher_spectrum(lenet, data, 1),
        lambda data: kf.attacks.FGM(1.0)(lenet, data),
        lambda data: kf.Classifier(lenet).predict(data),
    ]
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8)
    # Not even an array of NumPy is taken: the answer would be that of the first trace for ever.
    for call, data in itertools.product(calls, [images, tf.constant(images), dataset]):
        traced = tf.function(lambda call=call, data=data: call(data), autograph=False)
        with pytest.raises(TypeError, match=r"`images` must have values, .*kf\.layers\.OSSALayer"):
            traced()


def test_probabilities_whose_softmax_is_hidden_are_taken_with_a_warning(pixels):
    class Hidden(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential([*body(), layers.Dense(4, activation="softmax")])

        def call(self, inputs):
            return self.inner(inputs) * 1.0

    hidden = Hidden()
    hidden(pixels)
    inputs = keras.Input(SHAPE)
    wrapped = keras.Model(inputs, layers.Lambda(lambda x: x)(hidden(inputs)))
    with pytest.warns(UserWarning, match="not its last layer"):
        classifier = kf.Classifier(wrapped)
    np.testing.assert_allclose(
        np.exp(classifier.log_probabilities(pixels)), hidden(pixels).numpy(), rtol=1e-5
    )
    spectrum = kf.fisher_spectrum(classifier, pixels, solver="exact")
    reference = kf.fisher_spectrum(kf.Classifier(hidden.inner), pixels, solver="exact")
    np.testing.assert_allclose(spectrum.eigenvalues[:, 0], reference.eigenvalues[:, 0], rtol=1e-3)


def test_log_probabilities_do_not_saturate(classifier, sample):
    log_p = classifier.log_probabilities(sample[0][:200])
    assert log_p.dtype == np.float64
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1.0, rtol=1e-12)
    assert np.isfinite(log_p).all()
    assert log_p.min() < -30
    assert classifier.num_classes == 10
    assert classifier.image_shape == (28, 28, 1)
    assert classifier.logits(sample[0][:200]).dtype == np.float32


def test_inference_mode_always(pixels):
    model = keras.Sequential([*body(), layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(4)])
    classifier = kf.Classifier(model)
    np.testing.assert_array_equal(classifier.logits(pixels), classifier.logits(pixels))
    np.testing.assert_allclose(classifier.logits(pixels), model(pixels, training=False), rtol=1e-5)


def test_logits_in_chunks_and_from_a_dataset(classifier, sample):
    images = sample[0][:50]
    whole = classifier.logits(images)
    np.testing.assert_allclose(classifier.logits(images, batch_size=7), whole, rtol=1e-5, atol=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(16)
    np.testing.assert_allclose(classifier.logits(dataset), whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict(images), whole.argmax(axis=-1))


@keras.saving.register_keras_serializable("keras_fisher_tests")
class BatchMean(layers.Layer):
    """Couples the images of a batch."""

    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)


class AlwaysNoisy(layers.Layer):
    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs))


class Nan(layers.Layer):
    def call(self, inputs):
        return inputs * float("nan")


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ([layers.Dense(4, activation="sigmoid")], r"'sigmoid'.*from_logits=True.*Bernoulli"),
        ([layers.Dense(4, activation="relu")], "'relu'"),
        ([layers.Dense(4), layers.ReLU()], "'relu'"),
        ([layers.Reshape((4, 12))], r"one row of class scores .* \(2, 4, 12\)"),
        ([layers.Dense(4), BatchMean()], "treat each image by itself.*training=False"),
        ([layers.Dense(4), AlwaysNoisy()], "deterministic"),
        ([layers.Dense(4), Nan()], "finite"),
    ],
)
def test_models_that_are_no_classifiers_are_refused_with_a_remedy(ending, words):
    with pytest.raises(ValueError, match=words):
        kf.Classifier(keras.Sequential([*body(), *ending]))


def test_from_logits_overrules_what_the_last_layer_suggests(pixels):
    model = keras.Sequential([*body(), layers.Dense(4, activation="tanh")])
    np.testing.assert_allclose(
        kf.Classifier(model, from_logits=True).logits(pixels), model(pixels), rtol=1e-6
    )
    softmax = keras.Sequential([*body(), layers.Dense(4, activation="softmax")])
    with pytest.raises(ValueError, match="probabilities"):
        kf.Classifier(softmax, from_logits=True)
    with pytest.raises(ValueError, match="`from_logits` must be one of"):
        kf.Classifier(softmax, from_logits="yes")


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"keras\.Model"):
        kf.Classifier(lambda x: x)
    with pytest.raises(ValueError, match=r"keras\.Input"):
        kf.Classifier(keras.Sequential([layers.Dense(3)]))
    first, second = keras.Input(SHAPE), keras.Input(SHAPE)
    both = keras.Model(first, [layers.Flatten()(first), layers.Dense(3)(layers.Flatten()(first))])
    with pytest.raises(ValueError, match="one output"):
        kf.Classifier(both)
    two = keras.Model([first, second], layers.Dense(3)(layers.Flatten()(layers.Add()([first, second]))))
    with pytest.raises(ValueError, match="one tensor of images"):
        kf.Classifier(two)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, float("inf")), (0.0,), "01", (0.0, float("nan"))])
def test_bounds_are_a_pair_in_order(bounds, lenet):
    with pytest.raises(ValueError, match="`bounds` must be a pair"):
        kf.Classifier(lenet, bounds=bounds)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda x: x[0], ValueError, r"\(batch, 28, 28, 1\).*images\[None\]"),
        (lambda x: x[..., 0], ValueError, "batch"),
        (lambda x: np.repeat(x, 3, axis=-1), ValueError, r"\(batch, 28, 28, 1\)"),
        (lambda x: x * 255, ValueError, r"\[0, 1\].*Divide 8-bit pixels by 255"),
        (lambda x: x - 0.01, ValueError, "bounds=None"),
        (lambda x: np.where(x > 0.9, np.nan, x), ValueError, "finite.*NaN or infinity in"),
        (lambda x: np.where(x > 0.9, np.inf, x), ValueError, "finite"),
        (lambda x: x.astype(str), TypeError, "array of numbers"),
        (lambda x: [[1, 2], [3]], TypeError, "array of numbers"),
        (lambda x: "digits", TypeError, "array of numbers"),
    ],
)
def test_images_of_another_kind_are_refused_everywhere(change, error, words, classifier, images):
    bad = change(images)
    calls = (
        classifier.logits,
        lambda x: kf.fisher_spectrum(classifier, x),
        lambda x: kf.attacks.FGM()(classifier, x),
        lambda x: kf.attacks.least_perturbation(kf.attacks.OSSA(), classifier, x),
    )
    for call in calls:
        with pytest.raises(error, match=words):
            call(bad)


def test_bounds_none_takes_any_finite_pixel(lenet, images):
    classifier = kf.Classifier(lenet, bounds=None)
    assert np.isfinite(classifier.logits(images * 3 - 1)).all()
    with pytest.raises(ValueError, match="finite"):
        classifier.logits(images * np.nan)


def test_a_model_that_takes_any_image_size():
    inputs = keras.Input((None, None, 3))
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
    classifier = kf.Classifier(keras.Model(inputs, layers.Dense(3)(features)))
    for side in (8, 12):
        pixels = np.random.default_rng(side).uniform(size=(2, side, side, 3))
        spectrum = kf.fisher_spectrum(classifier, pixels)
        assert spectrum.eigenvectors.shape == (2, 2, side, side, 3)
        assert (spectrum.eigenvalues[:, 0] > 0).all()


def test_class_odds_hold_their_accuracy_where_softmax_rounds():
    logits = tf.constant([[50.0, 0.0, -10.0], [0.0, 1.0, 2.0], [1000.0, 0.0, -1000.0]], tf.float64)
    odds = class_odds(logits, tf.constant([0, 1, 0]))
    rest = np.log(np.exp(-50.0) + np.exp(-60.0))
    np.testing.assert_allclose(odds.log_rest[0], rest, rtol=1e-14)
    np.testing.assert_allclose(odds.log_probability[0], -np.exp(rest), rtol=1e-12)
    p = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    np.testing.assert_allclose(odds.log_odds[1], np.log(p[1] / (1 - p[1])), rtol=1e-12)
    np.testing.assert_allclose(odds.rest[1], [p[0] / (1 - p[1]), 0.0, p[2] / (1 - p[1])], rtol=1e-12)
    np.testing.assert_allclose(odds.log_rest[2], -1000.0, rtol=1e-12)
    np.testing.assert_allclose(odds.loss_gradient.numpy().sum(axis=-1), 0.0, atol=1e-12)


def test_mixed_precision_models_are_taken(pixels):
    keras.utils.set_random_seed(0)
    policy = keras.DTypePolicy("mixed_float16")
    inputs = keras.Input(SHAPE)
    hidden = layers.Dense(8, activation="relu", dtype=policy)(layers.Flatten(dtype=policy)(inputs))
    model = keras.Model(inputs, layers.Dense(3, dtype="float32")(hidden))
    spectrum = kf.fisher_spectrum(model, pixels)
    assert np.isfinite(spectrum.eigenvalues).all()
    exact = kf.fisher_spectrum(testing.float64_copy(model), pixels)
    np.testing.assert_allclose(spectrum.eigenvalues[:, 0], exact.eigenvalues[:, 0], rtol=0.05)


def test_grey_images_without_a_channel_axis_are_told_apart_from_a_single_image():
    classifier = kf.Classifier(testing.small_net("dense"))
    with pytest.raises(ValueError, match=r"channel axis: images\[\.\.\., None\]"):
        classifier.logits(np.zeros((4, 28, 28)))
    with pytest.raises(ValueError, match=r"batch axis: images\[None\]"):
        classifier.logits(np.zeros((28, 28, 1)))


def _identity(subject, tensor, *, setting):
    return tensor


class _Slow(collections.OrderedDict):
    """Lets another thread in after each entry."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        time.sleep(0.001)


def test_threads_share_the_programs_of_a_net(monkeypatch):
    monkeypatch.setattr("keras_fisher.classifiers.programs.MAX_PROGRAMS", 2)
    programs = Programs(None)
    programs._compiled = _Slow()

    def ask(setting):
        return float(programs.run(_identity, np.float32(setting), setting=setting))

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(64))) == list(range(64))
    assert len(programs._compiled) == 2
