"""The layer of adversarial training: what it moves, where to, and that it is a Keras layer."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.testing import TestCase

import keras_fisher as kf
from keras_fisher import testing

ATTACKS = {
    "ossa": None,
    "fgm": kf.attacks.FGM(),
    "bim": kf.attacks.BIM(steps=3),
    "pgd": kf.attacks.PGD(steps=3),
}
#: All of them, those that are alike only where there is time.
SOME = ["ossa", "fgm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bim", "pgd"))]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def conv_net(*, seed: int = 0, frozen: bool = False, activation: str | None = None) -> keras.Model:
    """A small trained-looking net of images (6, 6, 1) → 4 classes."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6, 6, 1))
    hidden = keras.layers.Conv2D(3, 3, activation="relu")(inputs)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Flatten()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(4, activation=activation)(hidden))
    for layer in model.layers:
        layer.trainable = not frozen
    return model


def noise(count: int = 8, shape: tuple[int, ...] = (6, 6, 1), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(count, *shape)).astype(np.float32)


def lengths(moved: np.ndarray, images: np.ndarray) -> np.ndarray:
    return np.linalg.norm((np.asarray(moved, np.float64) - images).reshape(len(images), -1), axis=-1)


@pytest.mark.parametrize("attack", SOME)
@pytest.mark.parametrize("training", [True, pytest.param(None, marks=pytest.mark.slow)])
def test_keras_own_layer_test_passes(attack, training):
    settings = {"model": conv_net(frozen=True), "epsilon": 0.5, "attack": ATTACKS[attack]}
    TestCase("__init__").run_layer_test(
        kf.layers.OSSALayer,
        init_kwargs=settings,
        input_data=noise(4),
        call_kwargs=None if training is None else {"training": training},
        expected_output_shape=(4, 6, 6, 1),
        expected_num_trainable_weights=0,
        # The net's, and three of its own: epsilon, share and step.
        expected_num_non_trainable_weights=len(settings["model"].weights) + 3,
        expected_num_seed_generators=0,
    )


@pytest.mark.parametrize("kind", ["ossa", "eigenvalues"])
def test_metrics_that_the_wrapped_net_was_compiled_with_are_not_the_layers(kind):
    net = conv_net()
    net.compile("sgd", LOSS, metrics=["accuracy"])
    images, labels = noise(), np.arange(8) % 4
    if kind == "ossa":
        model = keras.Sequential([kf.layers.OSSALayer(net, epsilon=0.1, attack=kf.attacks.FGM()), net])
        model.compile("sgd", LOSS)
    else:
        model = keras.Sequential([kf.layers.FisherEigenvalues(net, k=2), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    assert set(model.fit(images, labels, verbose=0).history) == {"loss"}
    assert np.isfinite(model.evaluate(images, labels, verbose=0))


def test_in_inference_it_is_the_identity():
    layer = kf.layers.OSSALayer(conv_net(), epsilon=1.0, fraction=1.0)
    images = noise()
    np.testing.assert_array_equal(layer(images, training=False), images)
    np.testing.assert_array_equal(layer(images), images)


@pytest.mark.parametrize(
    ("fraction", "count"), [(0.0, 0), (0.25, 2), (0.5, 4), (0.3, 2), (1.0, 8), (0.01, 1)]
)
def test_the_fraction_of_the_batch_is_moved_by_epsilon(fraction, count):
    layer = kf.layers.OSSALayer(kf.Classifier(conv_net(), bounds=None), epsilon=0.7, fraction=fraction)
    images = noise()
    moved = lengths(layer(images, training=True), images)
    assert (moved > 0).sum() == count
    np.testing.assert_allclose(moved[moved > 0], 0.7, rtol=1e-5)


def test_moved_rows_lie_evenly_spread_and_each_has_its_turn():
    layer = kf.layers.OSSALayer(conv_net(), epsilon=0.5, fraction=0.25)
    images = noise(16)
    run = tf.function(lambda: layer(images, training=True))
    counts = np.zeros(16)
    for _ in range(60):
        rows = np.flatnonzero(lengths(run(), images) > 0)
        assert (np.diff(rows) == 4).all()
        counts[rows] += 1
    # A quarter of 60 times each; the phases fill [0, 1) evenly, with a discrepancy of a few in 60.
    assert counts.min() >= 12
    assert counts.max() <= 18


def test_two_replicas_choose_what_one_device_chooses():
    images = noise(16)
    net = conv_net()
    whole, half, other = (kf.layers.OSSALayer(net, 0.5, 0.5, seed=3) for _ in range(3))
    together = whole(images, training=True).numpy()
    parts = [half(images[:8], training=True).numpy(), other(images[8:], training=True).numpy()]
    # The same numbers in another batch size: float32 sums may come in another order.
    np.testing.assert_allclose(np.concatenate(parts), together, atol=1e-5)


@pytest.mark.parametrize("attack", ["ossa", "fgm"])
def test_moved_images_are_those_of_the_attack(attack, lenet, images, labels):
    settings = dataclasses.replace(ATTACKS[attack] or kf.attacks.OSSA(solver="exact"), epsilon=1.5)
    layer = kf.layers.OSSALayer(lenet, 1.5, 1.0, attack=settings)
    expected = settings(lenet, images, labels).images
    # LeNet-5 in float32: its gradients have some 1e-6 of relative error, the top eigenvector at a gap more.
    found = layer(images, labels, training=True).numpy()
    assert np.median(lengths(found, expected)) < 1e-4
    assert (lengths(found, expected) < 1e-2).mean() > 0.9


def test_labels_decide_the_side_and_the_answers_stand_in_for_them(lenet, images, labels):
    layer = kf.layers.OSSALayer(lenet, 1.5, 1.0)
    answers = kf.Classifier(lenet).predict(images)
    by_answers = layer(images, training=True).numpy()
    np.testing.assert_array_equal(layer(images, answers, training=True), by_answers)
    assert not np.array_equal(layer(images, (answers + 1) % 10, training=True), by_answers)


def test_no_gradient_flows_through_the_perturbation():
    net = conv_net()
    layer = kf.layers.OSSALayer(net, 0.5, 1.0)
    images = tf.constant(noise())
    with tf.GradientTape() as tape:
        tape.watch(images)
        moved = layer(images, training=True)
        total = tf.reduce_sum(moved * moved)
    by_images, *by_weights = tape.gradient(total, [images, *net.trainable_weights])
    np.testing.assert_allclose(by_images, 2 * moved, rtol=1e-6)
    assert by_weights == [None] * len(net.trainable_weights)


def test_moved_images_stay_within_the_bounds_exactly():
    images = np.round(noise(32))  # black and white: every step leaves the bounds
    moved = kf.layers.OSSALayer(conv_net(), 2.0, 1.0)(images, training=True).numpy()
    assert moved.min() == 0.0
    assert moved.max() == 1.0
    pixels = kf.Classifier(conv_net(), bounds=(-1.0, 3.0))
    moved = kf.layers.OSSALayer(pixels, 20.0, 1.0)(4 * images - 1, training=True).numpy()
    assert moved.min() == -1.0
    assert moved.max() == 3.0


def test_an_image_out_of_bounds_comes_out_as_nan():
    images = noise(4)
    images[1, 0, 0, 0] = 1.5
    images[2, 0, 0, 0] = np.nan
    for fraction in (0.25, 1.0):
        moved = kf.layers.OSSALayer(conv_net(), 0.5, fraction)(images, training=True).numpy()
        assert np.isnan(moved).any(axis=(1, 2, 3)).tolist() == [False, True, True, False]


def test_the_net_is_attacked_as_it_stands():
    net = conv_net()
    layer = kf.layers.OSSALayer(net, 0.5, 1.0)
    images = noise()
    before = layer(images, training=True).numpy()
    net.layers[-1].set_weights([-weight[::-1] for weight in net.layers[-1].get_weights()])
    assert lengths(layer(images, training=True), before).min() > 0.1


def test_epsilon_and_share_may_be_set_between_steps_without_a_new_trace():
    layer = kf.layers.OSSALayer(kf.Classifier(conv_net(), bounds=None), epsilon=0.5, fraction=1.0)
    traces = []

    @tf.function
    def run(images):
        traces.append(1)
        return layer(images, training=True)

    images = noise()
    np.testing.assert_allclose(lengths(run(images), images), 0.5, rtol=1e-5)
    layer.epsilon = 0.25
    np.testing.assert_allclose(lengths(run(images), images), 0.25, rtol=1e-5)
    layer.share = 0.5
    assert (lengths(run(images), images) > 0).sum() == 4
    layer.share = 0.0
    np.testing.assert_array_equal(run(images), images)
    assert (layer.epsilon, layer.share, layer.step, len(traces)) == (0.25, 0.0, 4, 1)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("attack", SOME)
def test_the_compiled_layer_does_what_the_eager_one_does(attack, jit_compile):
    net = conv_net()
    # With this solver, since Golub–Kahan starts with random numbers where the net is unsure.
    settings = ATTACKS[attack] or kf.attacks.OSSA(solver="exact")
    eager, compiled = (kf.layers.OSSALayer(net, 0.5, 0.5, attack=settings, seed=1) for _ in range(2))
    run = tf.function(lambda images: compiled(images, training=True), jit_compile=jit_compile)
    images = noise()
    found, expected = run(images).numpy(), eager(images, training=True).numpy()
    is_moved = lengths(expected, images) > 0
    assert ((lengths(found, images) > 0) == is_moved).all()
    if attack == "pgd":  # XLA has other random numbers.
        assert (lengths(found, images)[is_moved] <= 0.5 * (1 + 1e-6)).all()
    else:
        # Float32 gradients, and for OSSA an eigenvector of XLA's own decomposition.
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "jit_compile", "activation"),
    [
        ("functional", False, None),
        pytest.param("sequential", True, None, marks=pytest.mark.slow),
        pytest.param("functional", False, "softmax", marks=pytest.mark.slow),
    ],
)
def test_a_model_with_the_layer_trains_and_survives_a_file(kind, jit_compile, activation, tmp_path):
    net = conv_net(activation=activation)
    layer = kf.layers.OSSALayer(net, epsilon=0.5)
    if kind == "sequential":
        model = keras.Sequential([keras.Input((6, 6, 1)), layer, net])
    else:
        inputs = keras.Input((6, 6, 1))
        model = keras.Model(inputs, net(layer(inputs)))
    assert len(model.trainable_weights) == len(net.trainable_weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], jit_compile=jit_compile)
    images = noise(32)
    labels = (images[:, 0, 0, 0] > 0.5).astype(np.int64)
    before = [weight.copy() for weight in net.get_weights()]
    history = model.fit(images, labels, batch_size=8, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert not np.array_equal(net.get_weights()[0], before[0])
    np.testing.assert_allclose(model.predict(images, verbose=0), net.predict(images, verbose=0), rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))
    # The one net is in both places again, and training goes on with it.
    assert again.layers[-1] is again.layers[-2].model
    assert again.layers[-2].step == layer.step == 8
    again.fit(images, labels, batch_size=8, verbose=0)
    assert again.layers[-2].step == 12


def test_training_from_a_file_repeats_unbroken_training(tmp_path):
    images = noise(32)
    labels = (images[:, 0, 0, 0] > 0.5).astype(np.int64)

    def start():
        net = conv_net(seed=5)
        # Random, by the seed and the step that the file keeps.
        attack = kf.attacks.RandomNoise()
        model = keras.Sequential([keras.Input((6, 6, 1)), kf.layers.OSSALayer(net, 0.5, attack=attack), net])
        model.compile(keras.optimizers.Adam(0.01), LOSS)
        return model

    whole, first = start(), start()
    whole.fit(images, labels, batch_size=8, epochs=3, shuffle=False, verbose=0)
    first.fit(images, labels, batch_size=8, epochs=2, shuffle=False, verbose=0)
    first.save(tmp_path / "model.keras")
    second = keras.models.load_model(tmp_path / "model.keras")
    second.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
    for weight, expected in zip(second.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)


def test_under_mixed_precision_images_are_perturbed_in_float32_and_leave_in_float16():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        net = conv_net()
        layer = kf.layers.OSSALayer(kf.Classifier(net, bounds=None), 0.5, 1.0)
        images = noise()
        moved = layer(images, training=True)
        assert moved.dtype == tf.float16
        # The rounding of a pixel to half precision, 2⁻¹², at 36 pixels.
        np.testing.assert_allclose(lengths(moved, images), 0.5, atol=36**0.5 * 2.0**-12)
        model = keras.Sequential([keras.Input((6, 6, 1)), layer, net])
        model.compile("adam", LOSS)
        history = model.fit(images, np.arange(8) % 4, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_a_solver_without_static_shapes_turns_xla_off():
    assert kf.layers.OSSALayer(conv_net()).supports_jit
    for solver in ("exact", "power", "lanczos", kf.solvers.FixedGolubKahan(3)):
        assert kf.layers.OSSALayer(conv_net(), solver=solver).supports_jit
    layer = kf.layers.OSSALayer(conv_net(), solver="golub_kahan")
    assert not layer.supports_jit
    images = noise()
    assert (lengths(layer(images, training=True), images) > 0).sum() == 4


def test_a_batch_of_one_and_of_none_pass():
    layer = kf.layers.OSSALayer(conv_net(), 0.5, 0.5, attack=kf.attacks.FGM())
    image = noise(1)
    assert lengths(layer(image, training=True), image)[0] > 0
    # A replica may get nothing of a last batch. Convolutions of oneDNN, a default on the newest processors
    # only, fail on it: one at a time they give it another shape, in a graph their gradient does.
    nothing = tf.zeros([0, 6, 6, 1]), tf.zeros([0], tf.int64)
    assert layer(nothing[0], training=True).shape == (0, 6, 6, 1)
    assert layer(*nothing, training=True).shape == (0, 6, 6, 1)
    signature = [tf.TensorSpec([None, 6, 6, 1]), tf.TensorSpec([None], tf.int64)]
    for with_xla in (False, True):
        moved = tf.function(
            lambda images, labels: layer(images, labels, training=True),
            input_signature=signature,
            jit_compile=with_xla,
        )
        assert moved(*nothing).shape == (0, 6, 6, 1)
        assert lengths(moved(image, tf.zeros([1], tf.int64)), image)[0] > 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"epsilon": 0.0}, ValueError, "`epsilon` must be a finite number in"),
        ({"epsilon": "1"}, TypeError, "`epsilon` must be a real number"),
        ({"fraction": 1.5}, ValueError, r"`fraction` must be a finite number in \[0, 1\], got 1.5"),
        ({"solver": "qr"}, ValueError, "`solver` must be one of"),
        ({"solver": "alias_power"}, ValueError, "`solver` must be deterministic in training"),
        ({"seed": -1}, ValueError, "`seed` must be in"),
        ({"attack": "fgm"}, TypeError, "`attack` must be an attack of kf.attacks with an epsilon"),
        ({"attack": kf.attacks.FGM}, TypeError, r"the class FGM. Make one: FGM\(\)"),
        ({"attack": kf.attacks.DeepFool()}, TypeError, "with an epsilon, got DeepFool"),
        (
            {"attack": kf.attacks.OTCM()},
            ValueError,
            r"`attack` must be one of BIM, FGM, .*, PGD, RandomNoise in training",
        ),
        ({"attack": kf.attacks.FGM(targeted=True)}, ValueError, "`attack` must be untargeted in training"),
        (
            {"epsilon": 1.5, "attack": kf.attacks.FGM(epsilon=0.3)},
            ValueError,
            r"`attack` must agree with `epsilon` = 1.5 .*, got FGM\(epsilon=0.3\). Leave",
        ),
        (
            {"attack": kf.attacks.FGM(), "solver": "exact"},
            ValueError,
            '`solver` must be "auto" beside an attack',
        ),
    ],
)
def test_bad_argument_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        kf.layers.OSSALayer(testing.small_net("dense"), **arguments)


def test_no_model_is_refused():
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        kf.layers.OSSALayer(3)


def test_bounds_are_those_of_the_classifier_or_given_with_a_model():
    net = testing.small_net("dense")
    shape = (1, *net.input_shape[1:])
    wide = kf.layers.OSSALayer(net, 20.0, bounds=(0, 255))
    assert np.isfinite(wide(np.full(shape, 200.0, np.float32), training=True)).all()
    assert np.isnan(kf.layers.OSSALayer(net)(np.full(shape, 200.0, np.float32), training=True)).all()
    classifier = kf.Classifier(net, bounds=(0, 255))
    kf.layers.OSSALayer(classifier, 20.0, bounds=(0, 255))
    with pytest.raises(ValueError, match="be those of the Classifier"):
        kf.layers.OSSALayer(classifier, 20.0, bounds=(0, 1))


def test_a_net_without_a_second_derivative_is_attacked_along_its_true_eigenvector():
    layers = [
        keras.Input((6, 6, 1)),
        keras.layers.Resizing(12, 12),
        keras.layers.Conv2D(3, 3, activation="elu"),
        keras.layers.Flatten(),
        keras.layers.Dense(7),
    ]
    keras.utils.set_random_seed(0)
    net = keras.Sequential(layers)
    images = np.random.default_rng(0).uniform(0.3, 0.7, size=(4, 6, 6, 1)).astype(np.float32)
    layer = kf.layers.OSSALayer(net, 1e-2, 1.0, kf.solvers.FixedGolubKahan(14))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    again.model.set_weights(net.get_weights())
    vectors = kf.fisher_spectrum(net, images, 1, "exact").eigenvectors[:, 0]
    for made in (layer, again):
        moved = (np.asarray(made(images, training=True)) - images).reshape(4, -1)
        cosines = np.einsum("ni,ni->n", moved, vectors.reshape(4, -1)) / np.linalg.norm(moved, axis=-1)
        assert np.abs(cosines).min() > 0.99
    for penalty in ("spectral_norm", "trace"):
        with pytest.raises(ValueError, match=r"ResizeBilinearGrad.*Resize images before"):
            kf.losses.FisherRegularizer(penalty=penalty)(net, images)
    assert kf.losses.FisherRegularizer(penalty="kl", epsilon=0.1)(net, images) > 0


def test_an_epsilon_that_contradicts_that_of_the_attack_is_refused():
    # B6
    with pytest.raises(ValueError, match=r"`attack` must agree with `epsilon` = 1\.5 .*PGD\(epsilon=1\)"):
        kf.layers.OSSALayer(conv_net(), epsilon=1.5, attack=kf.attacks.PGD(epsilon=1.0))


def far_from_unit(target, images, labels, seed):
    return 24.6 * kf.attacks.unit(0.5 - images)


def test_a_direction_that_is_not_of_unit_norm_is_refused_as_in_a_call():
    attack = kf.attacks.OneStepAttack(direction=far_from_unit)
    with pytest.raises(ValueError, match="`direction` must have unit l2 norm"):
        kf.layers.OSSALayer(testing.small_net("dense"), epsilon=1.0, attack=attack)
