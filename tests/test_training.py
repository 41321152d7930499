"""Adversarial training, its settings crossed: regulariser × solver × penalty, attack × layer and callback."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.losses import FisherRegularizer
from tests.small_fits import Recorder

SOLVERS = {
    "auto": "auto",
    "exact": "exact",
    "dense": "dense",
    "power": "power",
    "lanczos": "lanczos",
    "golub_kahan": "golub_kahan",
    "staged": kf.solvers.Staged(kf.solvers.FixedGolubKahan(3), kf.solvers.Gram()),
    "fixed": kf.solvers.FixedGolubKahan(7),
}
ATTACKS = {
    "ossa": None,
    "ossa_exact": kf.attacks.OSSA(solver="exact"),
    "ossa_best_of_2": kf.attacks.OSSA(num_eigenvectors=2),
    "fgm": kf.attacks.FGM(),
    "bim": kf.attacks.BIM(steps=2),
    "pgd": kf.attacks.PGD(steps=2),
    "iterative_ossa": kf.attacks.IterativeOSSA(steps=2),
    "noise": kf.attacks.RandomNoise(),
}
#: All of them, those that are alike only where there is time.
ALIKE = {"ossa_exact", "ossa_best_of_2", "bim"}
SOME = [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in ATTACKS]
# A net that has learnt nothing is wrong on most images.
pytestmark = pytest.mark.filterwarnings("ignore:The classifier gives only")


def dense_net(*first: keras.layers.Layer, dtype: str = "float32", num_classes: int = 4) -> keras.Model:
    """A smooth net of images (6, 6, 1), unsure of most."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((6, 6, 1), dtype=dtype),
        *first,
        keras.layers.Flatten(dtype=dtype),
        keras.layers.Dense(8, activation="tanh", dtype=dtype),
        keras.layers.Dense(num_classes, dtype=dtype),
    ]
    model = keras.Sequential(layers)
    model.set_weights([1.5 * weight for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Eight images away from the bounds, float64."""
    return np.random.default_rng(1).uniform(0.3, 0.7, size=(8, 6, 6, 1))


@pytest.fixture(scope="module")
def double() -> kf.Classifier:
    return kf.Classifier(dense_net(dtype="float64"))


def log_probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    logits = model(images).numpy().astype(np.float64)
    return logits - np.logaddexp.reduce(logits, axis=-1)[:, None]


@pytest.mark.parametrize("penalty", ["spectral_norm", "trace", "kl"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_gives_every_penalty_its_exact_value(solver, penalty, double, pixels):
    regularizer = FisherRegularizer(2.0, penalty, epsilon=1e-3, solver=SOLVERS[solver])
    with tf.GradientTape() as tape:
        found = regularizer(double, pixels, 5)
    gradients = tape.gradient(found, double.model.trainable_weights)
    assert all(np.isfinite(part).all() for part in gradients[:-1])
    if penalty == "trace":  # asks for no eigenvector
        np.testing.assert_array_equal(found, FisherRegularizer(2.0, penalty)(double, pixels, 5))
        return
    top = testing.reference_spectrum(double.model, pixels).eigenvalues[:, 0].mean()
    # KL = ½ ε² λ₁ for small ε, up to terms of relative order ε.
    expected = 2.0 * (top if penalty == "spectral_norm" else 0.5e-6 * top)
    # "auto" is a lower bound of few steps; the others have λ₁ to their tolerance, or exactly.
    tolerance = {"auto": 0.1, "power": 5e-3, "lanczos": 5e-3, "golub_kahan": 5e-3, "staged": 5e-3}
    np.testing.assert_allclose(found, expected, rtol=max(tolerance.get(solver, 0.0), 2e-3))
    if penalty == "spectral_norm":
        assert found <= expected * (1 + 1e-9)


@pytest.mark.parametrize("solver", ["golub_kahan", pytest.param("staged", marks=pytest.mark.slow)])
def test_solvers_that_leave_the_batch_are_trained_through_in_a_graph(solver, double, pixels):
    regularizer = FisherRegularizer(solver=SOLVERS[solver])

    def run(images):
        with tf.GradientTape() as tape:
            penalty = regularizer(double, images)
        return penalty, *tape.gradient(penalty, double.model.trainable_weights[:-1])

    signature = [tf.TensorSpec([None, 6, 6, 1], tf.float64)]
    found = tf.function(run, input_signature=signature)(tf.constant(pixels))
    for one, other in zip(found, run(tf.constant(pixels)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-12)


def test_a_sampled_solver_is_refused_by_layer_callback_and_regularizer():
    attack = kf.attacks.OSSA(solver="alias_power")
    for refuse in (
        lambda: kf.layers.OSSALayer(dense_net(), attack=attack),
        lambda: kf.callbacks.OSSACallback(attack=attack),
        lambda: kf.callbacks.OSSACallback(solver="alias_power"),
        lambda: FisherRegularizer(solver="alias_lanczos"),
    ):
        with pytest.raises(ValueError, match="`solver` must be deterministic in training, got Sampled"):
            refuse()


@pytest.mark.parametrize("attack", SOME)
def test_the_callback_does_what_the_layer_does_with_every_attack(attack, pixels):
    inner, images, labels = dense_net(), pixels.astype(np.float32), np.arange(8) % 4
    settings = {"epsilon": 0.3, "fraction": 0.5, "attack": ATTACKS[attack], "seed": 3}
    layer = kf.layers.OSSALayer(inner, **settings)
    expected = layer.perturb(tf.constant(images), tf.constant(labels)).numpy()
    lengths = np.linalg.norm((expected - images).reshape(8, -1), axis=-1)
    assert (lengths > 0.1).sum() == 4
    assert lengths.max() <= 0.3 * (1 + 1e-5)
    model = Recorder(inner.inputs, inner.outputs)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.seen = tf.Variable(np.zeros_like(images))
    callback = kf.callbacks.OSSACallback(**settings)
    model.fit(images, labels, batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(model.seen.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("attack", SOME)
def test_no_image_of_a_net_with_infinite_slopes_is_trained_on_as_nan(attack, pixels):
    net = dense_net(keras.layers.Lambda(tf.sqrt))
    images = pixels.astype(np.float32)
    images[::2, 0, 0] = 0.0  # where the root has no slope
    layer = kf.layers.OSSALayer(net, 0.3, 1.0, attack=ATTACKS[attack])
    moved = layer(tf.constant(images), tf.constant(np.arange(8) % 4), training=True).numpy()
    assert np.isfinite(moved).all()
    assert (np.abs(moved - images)[1::2].max(axis=(1, 2, 3)) > 0).all()


def test_ossa_in_training_raises_the_loss_of_right_and_of_wrong_labels(double, pixels):
    before = log_probabilities(double.model, pixels)
    for shift in range(4):
        labels = (before.argmax(axis=-1) + shift) % 4
        layer = kf.layers.OSSALayer(double, 0.02, 1.0)
        moved = layer(tf.constant(pixels), tf.constant(labels), training=True).numpy()
        np.testing.assert_allclose(np.linalg.norm((moved - pixels).reshape(8, -1), axis=-1), 0.02, rtol=1e-6)
        after = log_probabilities(double.model, moved)
        rows = np.arange(8)
        assert (after[rows, labels] < before[rows, labels]).all()


@pytest.mark.parametrize(
    ("epsilon", "attack", "expected"),
    [
        (None, None, 1.5),
        (0.5, None, 0.5),
        (None, kf.attacks.FGM(), 1.5),
        (None, kf.attacks.FGM(0.5), 0.5),
        (0.5, kf.attacks.FGM(), 0.5),
        (0.5, kf.attacks.FGM(0.5), 0.5),
        (1.5, kf.attacks.PGD(1.0, steps=2), None),
        (1.5, kf.attacks.PGD(2.0, steps=2), None),
        (1.0, kf.attacks.PGD(1.5, steps=2), None),
    ],
)
def test_layer_and_callback_have_one_rule_for_epsilon(epsilon, attack, expected, pixels):
    net = dense_net()
    if expected is None:
        for make in (lambda **given: kf.layers.OSSALayer(net, **given), kf.callbacks.OSSACallback):
            with pytest.raises(ValueError, match=r"`attack` must agree with `epsilon` = 1.*Leave one of the"):
                make(epsilon=epsilon, attack=attack)
        return
    layer = kf.layers.OSSALayer(net, epsilon, attack=attack)
    assert layer.epsilon == expected
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.epsilon == expected
    assert kf.layers.OSSALayer(net, epsilon, attack=attack, bounds=(0, 3)).epsilon == (
        4.5 if expected == 1.5 else expected
    )
    callback = kf.callbacks.OSSACallback(epsilon, attack=attack)
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    history = net.fit(pixels, np.arange(8) % 4, verbose=0, callbacks=[callback]).history
    assert history["adversarial_epsilon"] == [expected]


def test_an_epsilon_below_one_percent_of_the_range_is_warned_of(pixels):
    net, labels = dense_net(), np.arange(8) % 4
    with pytest.warns(UserWarning, match=r"`epsilon` = 1.5 is below 1 % of the range of pixels, \[0, 255\]"):
        kf.layers.OSSALayer(net, 1.5, bounds=(0, 255))
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    callback = kf.callbacks.OSSACallback(1.5, attack=kf.attacks.FGM(), bounds=(0, 255))
    with pytest.warns(UserWarning, match="`epsilon` = 1.5 is below 1 % of the range"):
        net.fit(255 * pixels, labels, verbose=0, callbacks=[callback])
    settings = {"validation_data": (255 * pixels, labels), "validation_attack": kf.attacks.FGM(1.0)}
    callback = kf.callbacks.OSSACallback(300.0, attack=kf.attacks.FGM(), bounds=(0, 255), **settings)
    with pytest.warns(UserWarning, match="`epsilon` = 1 is below 1 % of the range"):
        net.fit(255 * pixels, labels, verbose=0, callbacks=[callback])


def test_images_beyond_the_bounds_of_a_model_with_a_rescaling_get_the_remedy_for_it(pixels):
    net = dense_net(keras.layers.Rescaling(1 / 255))
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    callback = kf.callbacks.OSSACallback(attack=kf.attacks.FGM())
    with pytest.raises(ValueError, match=r"Rescaling.*OSSACallback\(bounds=\(0, 255\)\)") as caught:
        net.fit(255 * pixels, np.arange(8) % 4, verbose=0, callbacks=[callback])
    assert "Divide" not in str(caught.value)


def test_validation_of_a_net_without_a_second_derivative_is_that_of_the_exact_solver(pixels):
    net, images = dense_net(keras.layers.Resizing(9, 9)), pixels.astype(np.float32)
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    settings = {"validation_data": (images, np.arange(8) % 4), "validation_attack": kf.attacks.FGM(0.2)}
    callback = kf.callbacks.OSSACallback(0.3, **settings)
    history = net.fit(images, np.arange(8) % 4, verbose=0, callbacks=[callback]).history
    found = history["val_fisher_eigenvalue_mean"][-1]
    expected = testing.reference_spectrum(testing.float64_copy(net), images).eigenvalues[:, 0].mean()
    assert expected > 1e-4
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_other_validation_data_count_in_the_next_fit(pixels):
    net, labels = dense_net(), np.arange(8) % 4
    net.compile(
        keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(True), jit_compile=False
    )
    callback = kf.callbacks.OSSACallback(0.3, attack=kf.attacks.FGM(), validation_attack=kf.attacks.FGM(0.02))
    answers = kf.Classifier(net).predict(pixels)
    accuracies = []
    for validation in ((pixels, answers), (pixels, (answers + 1) % 4)):
        callback.validation_data = validation
        history = net.fit(pixels, labels, verbose=0, callbacks=[callback]).history
        accuracies += history["val_robust_accuracy"]
    assert accuracies[0] > 0.5 > accuracies[1]


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda: kf.layers.OSSALayer(dense_net(), eps=1.0), r"`OSSALayer` .* Did you mean `epsilon`"),
        (lambda: kf.layers.OSSALayer(dense_net(), method="exact"), "Did you mean `solver`"),
        (lambda: kf.layers.OSSALayer(dense_net(), reading="logits"), "It has model, epsilon"),
        (lambda: kf.callbacks.OSSACallback(radius=1.0), r"`OSSACallback` .* Did you mean `epsilon`"),
        (lambda: FisherRegularizer(weigth=1.0), r"`FisherRegularizer` .* Did you mean `weight`"),
        (lambda: kf.callbacks.Warmup(1.0, epoch=2), r"`Warmup` .* Did you mean `epochs`"),
    ],
)
def test_a_slip_of_a_keyword_is_answered_with_the_one_that_was_meant(make, meant):
    with pytest.raises(TypeError, match=meant):
        make()
