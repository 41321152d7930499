"""Models of many kinds: how each is read, with the right value by another route, or why it is refused."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_fisher as kf
from keras_fisher.classifiers import as_classifier

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, *SHAPE)).astype(np.float32)


def dense(units: int = 4, **options) -> keras.layers.Dense:
    return layers.Dense(
        units, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=3), **options
    )


def body() -> list:
    keras.utils.set_random_seed(0)
    return [keras.Input(SHAPE), layers.Conv2D(3, 3, activation="elu"), layers.Flatten()]


def exact_top(network, pixels, **options) -> np.ndarray:
    return kf.fisher_spectrum(network, pixels, 1, "exact", **options).eigenvalues[:, 0]


# A1: an operation without a second derivative.


def resizing() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Resizing(16, 16),
            layers.Conv2D(4, 3, activation="elu"),
            layers.Flatten(),
            dense(8),
        ]
    )


def half_resizing() -> keras.Model:
    """A branch with the operation and one without: J v is wrong, and not zero."""
    images = keras.Input(SHAPE)
    keras.utils.set_random_seed(0)
    sides = [layers.Resizing(16, 16)(images), images]
    parts = [layers.Flatten()(layers.Conv2D(2, 3, activation="elu")(side)) for side in sides]
    return keras.Model(images, dense(8)(layers.Concatenate()(parts)))


EIGENSOLVERS = ("auto", "golub_kahan", "lanczos", "power", kf.solvers.FixedGolubKahan(12))


@pytest.mark.parametrize(
    ("make", "solvers"),
    [
        (half_resizing, EIGENSOLVERS),
        (resizing, EIGENSOLVERS[:1]),
        pytest.param(resizing, EIGENSOLVERS[1:], marks=pytest.mark.slow),
    ],
)
def test_a_missing_second_derivative_is_found_and_all_solvers_agree(make, solvers, pixels):
    classifier = kf.Classifier(make())
    assert classifier.target.lacks_second_derivative == "ResizeBilinearGrad"
    expected = exact_top(classifier, pixels)
    # By differences: λ₁ = max vᵀG v, and KL along its vector is ½ ε² λ₁.
    spectrum = kf.fisher_spectrum(classifier, pixels, 1, "exact")
    step = 1e-2 * spectrum.eigenvectors[:, 0]
    log_p = classifier.log_probabilities(pixels)
    moved = kf.Classifier(classifier.model, bounds=None).log_probabilities(pixels + step)
    divergence = np.sum(np.exp(log_p) * (log_p - moved), axis=-1)
    np.testing.assert_allclose(2 * divergence / 1e-4, expected, rtol=0.05)
    for solver in solvers:
        found = kf.fisher_spectrum(classifier, pixels, 1, solver)
        assert found.converged.all()
        np.testing.assert_allclose(found.eigenvalues[:, 0], expected, rtol=1e-3)


def test_an_ordinary_net_has_its_second_derivative(classifier):
    assert classifier.target.lacks_second_derivative is None


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize("units", [1, 4])
def test_ensembles_of_every_reading_are_saved(activation, units, pixels, tmp_path):
    activation = "sigmoid" if activation and units == 1 else activation
    members = [ending([dense(units, activation=activation)]) for _ in range(2)]
    both = kf.ensemble(members)
    log_p = kf.Classifier(members[0]).log_probabilities(pixels)
    np.testing.assert_allclose(both.log_probabilities(pixels), log_p, atol=1e-5)
    both.model.save(tmp_path / "both.keras")
    again = kf.Classifier(tmp_path / "both.keras", from_logits=True)
    np.testing.assert_allclose(again.logits(pixels), both.logits(pixels), atol=1e-6)


@pytest.mark.parametrize("last", [[dense(activation="softmax")], [dense(), layers.Softmax()]])
def test_the_float64_oracle_leaves_out_a_final_softmax(last, pixels):
    double = kf.testing.float64_copy(ending(last))
    plain = kf.testing.float64_copy(ending([dense()]))
    np.testing.assert_allclose(double(pixels), plain(pixels), rtol=1e-6)


# A2: no gradient at all.


@pytest.mark.parametrize(
    "start",
    [
        lambda images: ops.round(images * 255) / 255,
        lambda images: ops.cast(ops.cast(images * 255, "int32"), "float32"),
    ],
)
def test_a_model_without_a_gradient_in_its_images_is_refused(start):
    images = keras.Input(SHAPE)
    model = keras.Model(images, dense()(layers.Flatten()(start(images))))
    with pytest.raises(ValueError, match="differentiable in its images"):
        kf.Classifier(model)
    # The remedy.
    kf.Classifier(keras.Sequential([keras.Input(model.layers[-1].input.shape[1:]), model.layers[-1]]))


def test_integer_images_are_refused():
    model = keras.Sequential(
        [keras.Input(SHAPE, dtype="uint8"), layers.Rescaling(1 / 255), layers.Flatten(), dense()]
    )
    with pytest.raises(ValueError, match="differentiable in its images"):
        kf.Classifier(model)


def test_a_constant_model_is_legitimate(pixels):
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(4, kernel_initializer="zeros")]
    )
    spectrum = kf.fisher_spectrum(model, pixels)
    assert (spectrum.eigenvalues == 0).all()
    assert spectrum.converged.all()


# A3, A4, A5: where the output activation is, and where it only seems to be.


class Headstrong(layers.Layer):
    """A last layer with an activation, which cannot be made anew without."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.activation = keras.activations.softmax
        self.inner = dense(units)

    def call(self, inputs):
        return self.activation(self.inner(inputs))


def of_two_inputs() -> keras.Model:
    images = keras.Input(SHAPE)
    flat = layers.Flatten()(images)

    class Sum(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.activation = keras.activations.softmax

        def call(self, inputs):
            return self.activation(inputs[0] + inputs[1])

    return keras.Model(images, Sum()([dense()(flat), dense()(flat)]))


def recurrent() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Reshape((8, 8)),
            layers.SimpleRNN(4, activation="softmax", kernel_initializer="orthogonal"),
        ]
    )


def ending(last) -> keras.Model:
    return keras.Sequential([*body(), *last])


def functional(last) -> keras.Model:
    images, *rest = body()
    tensor = images
    for layer in rest:
        tensor = layer(tensor)
    return keras.Model(images, last(dense()(tensor)))


SOFTMAX_ENDINGS = {
    "activation": (lambda: ending([dense(activation="softmax")]), "stripped"),
    "layer": (lambda: ending([dense(), layers.Softmax()]), "stripped"),
    "linear behind": (lambda: ending([dense(activation="softmax"), layers.Activation("linear")]), "stripped"),
    "noise behind": (lambda: ending([dense(activation="softmax"), layers.GaussianNoise(0.1)]), "stripped"),
    "function": (lambda: functional(ops.softmax), "stripped"),
    "log softmax": (lambda: functional(ops.log_softmax), "as_is"),
    "headstrong": (lambda: ending([Headstrong(4)]), "log"),
    "two inputs": (of_two_inputs, "log"),
    "recurrent": (recurrent, "log"),
}


@pytest.mark.parametrize("name", SOFTMAX_ENDINGS)
def test_every_softmax_ending_is_read_right(name, pixels):
    make, reading = SOFTMAX_ENDINGS[name]
    model = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = kf.Classifier(model)
    assert classifier.reading == reading
    assert (reading == "log") == any("not its last layer" in str(entry.message) for entry in caught)
    answer = np.asarray(model(pixels, training=False), np.float64)
    expected = answer if name == "log softmax" else np.log(answer)
    np.testing.assert_allclose(classifier.log_probabilities(pixels), expected, atol=1e-5)


SIGMOID_ENDINGS = {
    "activation": lambda: ending([dense(activation="sigmoid")]),
    "linear behind": lambda: ending(
        [dense(activation="sigmoid"), layers.Activation("linear", dtype="float32")]
    ),
    "function": lambda: functional(ops.sigmoid),
}


@pytest.fixture(scope="module")
def top_of_logits(pixels) -> np.ndarray:
    return exact_top(ending([dense()]), pixels, likelihood=kf.likelihoods.Bernoulli())


@pytest.mark.parametrize("name", SIGMOID_ENDINGS)
def test_every_sigmoid_ending_is_read_right(name, pixels, top_of_logits):
    found = exact_top(SIGMOID_ENDINGS[name](), pixels, likelihood=kf.likelihoods.Bernoulli())
    np.testing.assert_allclose(found, top_of_logits, rtol=1e-5)
    with pytest.raises(ValueError, match="ends in 'sigmoid'"):
        kf.Classifier(SIGMOID_ENDINGS[name]())


# A6: what the caller says is checked in both directions.


def test_from_logits_is_checked_in_both_directions(pixels):
    with pytest.raises(ValueError, match="`from_logits` must be True for a model of logits"):
        kf.Classifier(ending([dense()]), from_logits=False)
    kf.Classifier(ending([dense()]), from_logits=True)  # The remedy.
    hidden = ending([Headstrong(4)])
    with pytest.raises(ValueError, match="`from_logits`"):
        kf.Classifier(hidden, from_logits=True)
    assert kf.Classifier(ending([dense(activation="softmax")]), from_logits=False).reading == "stripped"


# E4: one unit.


@pytest.mark.parametrize(("activation", "from_logits"), [("sigmoid", "auto"), (None, "auto"), (None, True)])
def test_one_unit_is_two_classes(activation, from_logits, pixels):
    one = ending([dense(1, activation=activation)])
    classifier = kf.Classifier(one, from_logits=from_logits)
    assert classifier.num_classes == 2
    z = np.asarray(ending([dense(1)])(pixels), np.float64)
    np.testing.assert_allclose(classifier.logits(pixels), np.concatenate([0 * z, z], axis=1), atol=1e-5)
    # G = p (1 − p) ∇z ∇zᵀ is that of Bernoulli.
    bernoulli = exact_top(one, pixels, likelihood=kf.likelihoods.Bernoulli())
    np.testing.assert_allclose(exact_top(classifier, pixels), bernoulli, rtol=1e-4)
    result = kf.attacks.FGM(2.0)(classifier, pixels)
    assert result.images.shape == pixels.shape
    assert kf.layers.FisherEigenvalues(one, 1)(pixels).shape == (3, 1)


# A7: good models that a trial must not refuse.


def test_a_net_for_large_images_of_any_size_is_tried_out_where_it_works():
    images = keras.Input((None, None, 1))
    hidden = layers.Conv2D(2, 75, activation="elu")(images)
    model = keras.Model(images, dense(3)(layers.GlobalAveragePooling2D()(hidden)))
    assert kf.Classifier(model).num_classes == 3


def test_a_net_that_no_size_fits_is_refused_in_our_words():
    images = keras.Input((None, None, 1))
    model = keras.Model(images, dense(3)(layers.Flatten()(layers.Reshape((7, 11))(images))))
    with pytest.raises(ValueError, match=r"`model` must take images of the shape that it says"):
        kf.Classifier(model)


def test_a_fixed_batch_is_refused_with_a_remedy(tmp_path):
    images = keras.Input(batch_shape=(5, *SHAPE))
    model = keras.Model(images, dense()(ops.reshape(images, (5, 64))))
    with pytest.raises(ValueError, match=r"keras\.Input\(shape\), without batch_size"):
        kf.Classifier(model)

    class Fixed(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([5, 4], tf.float32)])
        def serve(self, images):
            return {"scores": images}

    module = Fixed()
    tf.saved_model.save(module, str(tmp_path / "fixed"), signatures={"serving_default": module.serve})
    with pytest.raises(ValueError, match="without batch_size"):
        kf.Classifier(tmp_path / "fixed")


def test_a_saved_model_of_bytes_is_refused(tmp_path):
    class Bytes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(self, files):
            return {"scores": tf.ones([tf.size(files), 3])}

    module = Bytes()
    tf.saved_model.save(module, str(tmp_path / "bytes"), signatures={"serving_default": module.serve})
    with pytest.raises(ValueError, match="take images of floats"):
        kf.Classifier(tmp_path / "bytes")


@pytest.mark.parametrize(
    "activation", ["relu", pytest.param("softplus", marks=pytest.mark.slow), "sigmoid", "softmax", None]
)
def test_the_mean_of_a_gaussian_is_the_output_whatever_its_last_layer(activation, pixels):
    model = ending([dense(3, activation=activation)])
    found = exact_top(model, pixels, likelihood=kf.likelihoods.Gaussian(0.5))
    step = 1e-3
    units = step * np.eye(64, dtype=np.float32).reshape(64, *SHAPE)
    for image, value in zip(pixels, found, strict=True):
        ahead, behind = (np.asarray(model(image + sign * units), np.float64) for sign in (1, -1))
        jacobian = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(value, 4 * np.linalg.norm(jacobian, 2) ** 2, rtol=2e-2, atol=1e-6)


def test_bounds_can_be_given_with_every_likelihood(pixels):
    model = ending([dense(3, activation="sigmoid")])
    wide = kf.Network(model, output_activation="sigmoid", bounds=(0, 255))
    found = exact_top(wide, 200 * pixels, likelihood=kf.likelihoods.Bernoulli())
    assert found.shape == (3,)
    with pytest.raises(ValueError, match=r"kf\.Network\(model, output_activation='linear'"):
        exact_top(wide, pixels, likelihood=kf.likelihoods.Gaussian())
    linear = kf.Network(model, output_activation="linear", bounds=None)  # The remedy.
    assert exact_top(linear, 300 * pixels, likelihood=kf.likelihoods.Gaussian()).shape == (3,)


def test_any_layer_is_a_response(pixels):
    model = ending([dense(3, name="scores")])
    network = kf.Network(model, layer="scores")
    whole = exact_top(model, pixels, likelihood=kf.likelihoods.Gaussian())
    np.testing.assert_allclose(
        exact_top(network, pixels, likelihood=kf.likelihoods.Gaussian()), whole, rtol=1e-6
    )
    first = kf.Network(model, layer=0)
    assert first.num_outputs == 6 * 6 * 3
    spectrum = kf.fisher_spectrum(first, pixels, 2, likelihood=kf.likelihoods.Gaussian())
    dense_g = kf.FisherOperator(first, pixels, kf.likelihoods.Gaussian()).to_dense()
    np.testing.assert_allclose(spectrum.eigenvalues, np.linalg.eigvalsh(dense_g)[:, :-3:-1], rtol=2e-3)
    with pytest.raises(ValueError, match="scores"):
        kf.Network(model, layer="missing")
    with pytest.raises(ValueError, match="`layer`"):
        kf.Network(model, output_activation="softmax", layer="scores")


# A8: containers, foreign models, copies.


def test_containers_of_one_tensor_are_that_tensor(pixels):
    images = keras.Input(SHAPE, name="images")
    scores = dense()(layers.Flatten()(images))
    plain = kf.Classifier(keras.Model(images, scores)).logits(pixels)
    for model in (
        keras.Model(images, {"scores": scores}),
        keras.Model({"images": images}, [scores]),
        keras.Model([images], scores),
    ):
        np.testing.assert_array_equal(kf.Classifier(model).logits(pixels), plain)


def test_what_is_no_keras_model_is_named():
    fake = type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})()
    with pytest.raises(TypeError, match="Keras 2"):
        kf.Classifier(fake)
    with pytest.raises(TypeError, match="Wrap the layer"):
        kf.Classifier(layers.Dense(3))


def test_h5_files_are_read(tmp_path, pixels):
    model = ending([dense()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "net.h5")
    np.testing.assert_allclose(kf.Classifier(tmp_path / "net.h5").logits(pixels), model(pixels), rtol=1e-5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_classifiers_are_copied_without_their_programs(copied, pixels):
    classifier = kf.Classifier(ending([dense(activation="softmax")]), bounds=(0, 2))
    kf.fisher_spectrum(classifier, pixels)
    again = copied(classifier)
    np.testing.assert_array_equal(again.logits(pixels), classifier.logits(pixels))
    assert again.bounds == (0, 2)
    assert again.model is not classifier.model


def test_a_quantised_model_is_tried_out_anew(pixels):
    model = ending([dense(activation="softmax")])
    before = as_classifier(model)
    assert as_classifier(model) is before
    model.quantize("int8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        after = as_classifier(model)
    assert after is not before
    answer = np.asarray(model(pixels), np.float64)
    np.testing.assert_allclose(np.exp(after.log_probabilities(pixels)), answer, atol=1e-3)


# A9: the world's settings. A process of its own would be clean; both are set back here.


def test_numerics_checks_do_not_stop_at_our_own_infinities(pixels):
    model = ending([dense(activation="softmax")])
    tf.debugging.enable_check_numerics()
    try:
        spectrum = kf.fisher_spectrum(kf.Classifier(model), pixels)
        kf.fisher_spectrum(kf.Classifier(model), pixels, 1)
    finally:
        tf.debugging.disable_check_numerics()
    assert spectrum.converged.all()


def test_our_own_nets_say_channels_last(pixels):
    keras.config.set_image_data_format("channels_first")
    try:
        net = kf.models.lenet5()
        vgg = kf.models.vgg(width=4)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert net.output_shape == (None, 10)
    assert vgg.output_shape == (None, 10)


# A10: Datasets.


def test_endless_and_foreign_datasets_are_refused_in_one_wording(pixels):
    classifier = kf.Classifier(ending([dense()]))
    dataset = tf.data.Dataset.from_tensor_slices(pixels)
    for use in (
        lambda data: kf.fisher_spectrum(classifier, data),
        classifier.logits,
        lambda data: kf.attacks.FGM()(classifier, data),
    ):
        with pytest.raises(ValueError, match=r"come to an end.*\.take\(n\)"):
            use(dataset.batch(2).repeat())
        with pytest.raises(ValueError, match="come in batches"):
            use(dataset)
        with pytest.raises(TypeError, match="dicts"):
            use(dataset.map(lambda image: {"image": image}).batch(2))
        with pytest.raises(TypeError, match=r"np\.concatenate"):
            use(iter([pixels]))
    assert len(kf.fisher_spectrum(classifier, dataset.batch(2), 1)) == 3


# A11: half precision.


@pytest.mark.parametrize(
    ("policy", "solvers"),
    [
        ("mixed_bfloat16", ("auto", "golub_kahan", "exact", "power")),
        ("mixed_float16", ("auto",)),
        pytest.param("mixed_float16", ("golub_kahan", "exact", "power"), marks=pytest.mark.slow),
    ],
)
def test_half_precision_claims_no_more_than_it_has(policy, solvers, pixels):
    keras.mixed_precision.set_global_policy(policy)
    try:
        half = ending([dense(), layers.Activation("softmax", dtype="float32")])
    finally:
        keras.mixed_precision.set_global_policy("float32")
    classifier = kf.Classifier(half)
    assert classifier.target.precision > 1e-3
    for solver in solvers:
        assert not kf.fisher_spectrum(classifier, pixels, 1, solver).converged.any()


# What a network keeps, and that it goes.


def test_a_model_keeps_its_network_and_both_go_together(pixels):
    model = ending([dense()])
    before = as_classifier(model)
    kf.fisher_spectrum(model, pixels)
    assert as_classifier(model) is before
    gone = weakref.ref(model), weakref.ref(before)
    del model, before
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_a_model_with_its_network_is_saved_and_cloned(tmp_path, pixels):
    model = ending([dense(activation="softmax")])
    kf.fisher_spectrum(model, pixels)
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again(pixels), model(pixels))
    keras.models.clone_model(model)
    copy.deepcopy(model)


def test_the_trial_of_a_net_is_few_passes():
    calls = []

    class Counting(layers.Layer):
        def call(self, inputs):
            calls.append(inputs.shape[0])
            return inputs

    images = keras.Input(SHAPE)
    model = keras.Model(images, dense(activation="softmax")(layers.Flatten()(Counting()(images))))
    calls.clear()
    kf.Classifier(model)
    # Eager passes have a size; traced ones, of which one is run, have none.
    assert [size for size in calls if size] == [2, 2]
    assert calls.count(None) <= 2


def test_programs_are_functions_at_the_top_of_a_module(classifier):
    with pytest.raises(TypeError, match="top level"):
        classifier.run(lambda target, images: target.logits(images), np.zeros((1, 28, 28, 1), np.float32))


def test_representations_are_one_line(classifier):
    assert repr(classifier) == "<Classifier 'lenet5': images 28 × 28 × 1, pixels in [0, 1], 10 outputs>"


# E3, E10: words for newcomers.


def test_eight_bit_pixels_are_told_what_the_model_wants(pixels):
    plain, own = (
        ending([dense()]),
        keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1 / 255), *body()[1:], dense()]),
    )
    with pytest.raises(ValueError, match="Divide 8-bit pixels by 255, or pass"):
        kf.Classifier(plain).logits(255 * pixels)
    with pytest.raises(ValueError, match=r"Rescaling layer of its own.*bounds=\(0, 255\)"):
        kf.Classifier(own).logits(255 * pixels)
    kf.Classifier(own, bounds=(0, 255)).logits(255 * pixels)  # The remedy.
    bernoulli = kf.likelihoods.Bernoulli()
    with pytest.raises(ValueError, match=r"kf.Network\(model, 'sigmoid', bounds=\(0, 255\)\)"):
        kf.fisher_spectrum(own, 255 * pixels, 1, likelihood=bernoulli)
    network = kf.Network(own, "sigmoid", bounds=(0, 255))
    assert kf.fisher_spectrum(network, 255 * pixels, 1, likelihood=bernoulli).converged.all()


def test_a_hidden_layer_is_told_which_likelihood_it_needs(pixels):
    network = kf.Network(ending([dense()]), layer=-1)
    with pytest.raises(ValueError, match=r"likelihood=kf.likelihoods.Gaussian\(\)"):
        kf.fisher_spectrum(network, pixels, 1)


def test_a_keyword_slip_is_told_what_was_meant(pixels):
    with pytest.raises(TypeError, match="Did you mean `from_logits`"):
        kf.Classifier(ending([dense()]), from_logit=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="num_eigenpairs"):
        kf.fisher_spectrum(ending([dense()]), pixels, k=1)  # type: ignore[call-arg]
