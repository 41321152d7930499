"""Penalties on the Fisher information against the dense reference and against finite differences."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.losses import FisherRegularizer

PENALTIES = ("spectral_norm", "trace", "kl")


def small_net(dtype: str = "float64", num_classes: int = 4, activation: str | None = None) -> keras.Model:
    """A smooth convolutional net of 6 × 6 images, unsure of most."""
    inputs = keras.Input((6, 6, 1), dtype=dtype)
    x = layers.Conv2D(3, 3, activation="softplus", dtype=dtype)(inputs)
    x = layers.Dense(6, activation="tanh", dtype=dtype)(layers.Flatten(dtype=dtype)(x))
    model = keras.Model(inputs, layers.Dense(num_classes, activation=activation, dtype=dtype)(x))
    generator = np.random.default_rng(0)
    shapes = [weight.shape for weight in model.get_weights()]
    model.set_weights([generator.standard_normal(s) * 1.5 / np.sqrt(np.prod(s[:-1])) for s in shapes])
    return model


def dense_net(activation: str) -> keras.Model:
    """A net of two dense layers and two classes."""
    inputs = keras.Input((6, 6, 1), dtype="float64")
    x = layers.Dense(3, activation=activation, dtype="float64")(layers.Flatten(dtype="float64")(inputs))
    model = keras.Model(inputs, layers.Dense(2, dtype="float64")(x))
    generator = np.random.default_rng(0)
    model.set_weights([0.5 * generator.standard_normal(part.shape) for part in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def double() -> keras.Model:
    return small_net()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Five images, away from the bounds."""
    return np.random.default_rng(1).uniform(0.3, 0.7, size=(5, 6, 6, 1))


def per_image(regularizer: FisherRegularizer, model: keras.Model, images: np.ndarray, step=0) -> np.ndarray:
    return regularizer.per_image(kf.Classifier(model).target, tf.constant(images), step).numpy()


def top_eigenvalues(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return testing.reference_spectrum(testing.float64_copy(model), images).eigenvalues[:, 0]


def divergence(model: keras.Model, images: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """(n,) KL(p(x) ‖ p(x + η)) by its definition, in NumPy."""
    logits = [model(part).numpy().astype(np.float64) for part in (images, moved)]
    log_p, log_q = (part - np.logaddexp.reduce(part, axis=-1)[:, None] for part in logits)
    return np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)


def gradients(regularizer: FisherRegularizer, model: keras.Model, images: np.ndarray, step=0) -> list:
    with tf.GradientTape() as tape:
        penalty = regularizer(model, images, step)
    return tape.gradient(penalty, model.trainable_weights)


def slopes(function, model: keras.Model, seed: int = 5) -> tuple[list, list[float]]:
    """One random direction for each weight, and the central difference of `function` along it."""
    generator, weights, differences, directions = np.random.default_rng(seed), model.get_weights(), [], []
    for index, weight in enumerate(weights):
        direction = generator.standard_normal(weight.shape)
        ends = []
        for sign in (1, -1):
            model.set_weights([*weights[:index], weight + sign * 1e-5 * direction, *weights[index + 1 :]])
            ends.append(function())
        differences.append((ends[0] - ends[1]) / 2e-5)
        directions.append(direction)
    model.set_weights(weights)
    return directions, differences


def assert_slopes(found: list, function, model: keras.Model) -> None:
    directions, expected = slopes(function, model)
    along = [np.sum(part.numpy() * way) for part, way in zip(found, directions, strict=True)]
    assert min(map(abs, expected)) > 1e-6
    # Central differences in float64: h² from the third derivative, 1e-16 / h from rounding.
    np.testing.assert_allclose(along, expected, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("kind", ["depthwise", "softmax", "dense"])
def test_the_spectral_norm_is_the_top_eigenvalue_of_nets_of_several_kinds(kind, images):
    model = testing.small_net(kind)
    expected = top_eigenvalues(model, images[:6])
    exact = per_image(FisherRegularizer(solver="exact"), model, images[:6])
    assert exact.dtype == np.float64
    # Passes of a float32 net; the value is quadratic in the error of its vector.
    np.testing.assert_allclose(exact, expected, rtol=1e-3)
    library = kf.fisher_spectrum(model, images[:6], num_eigenpairs=1, solver="exact").eigenvalues[:, 0]
    np.testing.assert_allclose(exact, library, rtol=1e-4)
    # A few steps give a lower bound, mostly a close one.
    few = per_image(FisherRegularizer(), model, images[:6])
    assert (few <= expected * (1 + 1e-3)).all()
    assert np.median(few / expected) > 0.95


def test_the_spectral_norm_keeps_its_relative_accuracy_where_the_net_is_saturated(pixels):
    model = small_net("float32", activation="softmax")
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, np.array([0.0, 250.0, 1.0, 2.0])])
    images = pixels.astype(np.float32)
    expected = top_eigenvalues(model, images)
    assert 0 < expected.max() < 1e-90
    for solver in ("auto", "exact"):
        np.testing.assert_allclose(
            per_image(FisherRegularizer(solver=solver), model, images), expected, rtol=1e-3
        )
    values = [per_image(FisherRegularizer(penalty="trace"), model, images, step) for step in range(4)]
    assert (np.array(values) > 0).all()


def test_the_trace_takes_the_values_of_all_sign_vectors_whose_mean_is_the_sum_of_the_eigenvalues(
    double, pixels
):
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=3)))
    signs = np.concatenate([np.ones((8, 1)), signs], axis=1)  # z and −z give one value.
    possible = np.array([np.square(signs @ root).sum(axis=-1) for root in roots(double, pixels)])
    total = testing.reference_spectrum(double, pixels).eigenvalues.sum(axis=-1)
    np.testing.assert_allclose(possible.mean(axis=-1), total, rtol=1e-10)
    # What is drawn is one of these values, each equally often.
    classifier, regularizer = kf.Classifier(double), FisherRegularizer(penalty="trace")
    draw = tf.function(lambda step: regularizer.per_image(classifier.target, tf.constant(pixels), step))
    drawn = np.array([draw(tf.constant(step)).numpy() for step in range(800)])
    distances = np.abs(drawn[:, :, None] / possible[None] - 1.0)
    assert distances.min(axis=-1).max() < 1e-9
    counts = np.stack([np.bincount(row, minlength=8) for row in distances.argmin(axis=-1).T])
    # Binomial of mean 100 and deviation 9.4: five of these are exceeded by none of 40 counts.
    assert np.abs(counts - 100).max() < 5 * 9.4
    # The images draw for themselves: not one sign vector for the whole batch.
    assert len(set(map(tuple, distances.argmin(axis=-1)))) > 300


def test_the_trace_follows_its_step_and_its_seed(double, pixels):
    regularizer = FisherRegularizer(penalty="trace")
    first = per_image(regularizer, double, pixels, 3)
    np.testing.assert_array_equal(per_image(regularizer, double, pixels, tf.constant(3, tf.int64)), first)
    assert (per_image(regularizer, double, pixels, 4) != first).any()
    assert (per_image(FisherRegularizer(penalty="trace", seed=1), double, pixels, 3) != first).any()
    # The step is by default the same: a penalty that is called without one repeats itself.
    np.testing.assert_array_equal(
        per_image(regularizer, double, pixels), per_image(regularizer, double, pixels, 0)
    )
    for penalty in ("spectral_norm", "kl"):
        other = FisherRegularizer(penalty=penalty)
        np.testing.assert_array_equal(
            per_image(other, double, pixels, 3), per_image(other, double, pixels, 4)
        )


@pytest.mark.parametrize("epsilon", [0.3, 1.5])
def test_kl_is_the_divergence_to_the_images_of_ossa(epsilon, double, pixels):
    moved = kf.attacks.OSSA(epsilon, solver="exact")(double, pixels).images
    expected = divergence(double, pixels, moved)
    found = per_image(FisherRegularizer(penalty="kl", epsilon=epsilon, solver="exact"), double, pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (found > 0).all()


def test_kl_is_half_of_epsilon_squared_times_the_top_eigenvalue_for_small_epsilon(double, pixels):
    found = per_image(FisherRegularizer(penalty="kl", epsilon=1e-4, solver="exact"), double, pixels)
    # The next term is of relative order epsilon; the sum cancels to 1e-16 of 1, at 1e-10.
    np.testing.assert_allclose(found, 0.5e-8 * top_eigenvalues(double, pixels), rtol=1e-3)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_penalty_is_the_weighted_mean_over_the_images(penalty, double, pixels):
    single = per_image(FisherRegularizer(1.0, penalty), double, pixels)
    np.testing.assert_array_equal(per_image(FisherRegularizer(0.3, penalty), double, pixels), single)
    found = FisherRegularizer(0.3, penalty)(double, pixels)
    assert found.shape == ()
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, 0.3 * single.mean(), rtol=1e-12)
    classifier = kf.Classifier(double)
    target = classifier.target
    for model in (classifier, target):
        np.testing.assert_allclose(FisherRegularizer(0.3, penalty)(model, pixels), found, rtol=1e-12)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_gradients_of_the_spectral_norm_are_finite_differences_of_the_top_eigenvalue(activation, pixels):
    model = small_net(activation=activation)
    found = gradients(FisherRegularizer(2.0, solver="exact"), model, pixels)
    assert_slopes(found, lambda: 2.0 * top_eigenvalues(model, pixels).mean(), model)


def roots(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """(n, classes, pixels) Lᵀ J with L = diag √p − p √pᵀ, so that L Lᵀ = diag p − p pᵀ."""
    pixels = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = model(pixels)
    jacobians = tape.batch_jacobian(logits, pixels).numpy().reshape(*logits.shape, -1)
    p = np.exp(logits.numpy() - np.logaddexp.reduce(logits.numpy(), axis=-1)[:, None])
    factors = [np.diag(np.sqrt(row)) - np.outer(row, np.sqrt(row)) for row in p]
    return np.transpose(factors, (0, 2, 1)) @ jacobians


def test_gradients_of_the_spectral_norm_do_not_go_through_the_solver(pixels):
    # A vector far from converged, where the derivative of it would count: eigenvalues of one size.
    inputs = keras.Input((6, 6, 1), dtype="float64")
    outputs = layers.Dense(4, dtype="float64")(layers.Flatten(dtype="float64")(inputs))
    model = keras.Model(inputs, outputs)
    model.set_weights([0.2 * np.random.default_rng(0).standard_normal((36, 4)), np.zeros(4)])
    solver = kf.solvers.PowerIteration(max_iterations=1, num_starts=1)
    vectors = kf.fisher_spectrum(model, pixels, num_eigenpairs=1, solver=solver).eigenvectors
    left = np.einsum("ncp,np->nc", roots(model, pixels), vectors.reshape(5, -1))
    left /= np.linalg.norm(left, axis=-1, keepdims=True)

    def fixed() -> float:
        return np.square(np.einsum("nc,ncp->np", left, roots(model, pixels))).sum(axis=-1).mean()

    np.testing.assert_allclose(FisherRegularizer(solver=solver)(model, pixels), fixed(), rtol=1e-9)
    assert fixed() < 0.95 * top_eigenvalues(model, pixels).mean()
    assert_slopes(gradients(FisherRegularizer(solver=solver), model, pixels), fixed, model)


def test_gradients_of_the_trace_are_finite_differences_of_it(double, pixels):
    regularizer = FisherRegularizer(2.0, "trace")
    found = gradients(regularizer, double, pixels, 7)
    assert_slopes(found, lambda: 2.0 * per_image(regularizer, double, pixels, 7).mean(), double)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_gradients_of_kl_are_finite_differences_with_the_perturbation_held_fixed(activation, pixels):
    model = small_net(activation=activation)
    moved = kf.attacks.OSSA(0.8, solver="exact")(model, pixels).images
    found = gradients(FisherRegularizer(2.0, "kl", epsilon=0.8, solver="exact"), model, pixels)
    assert_slopes(found, lambda: 2.0 * divergence(testing.float64_copy(model), pixels, moved).mean(), model)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_all_weights_of_a_softmax_ended_net_get_the_gradients_of_its_logits(penalty, pixels):
    softmax, logits = small_net(activation="softmax"), small_net()
    regularizer = FisherRegularizer(penalty=penalty)
    for found, expected in zip(
        gradients(regularizer, softmax, pixels, 1), gradients(regularizer, logits, pixels, 1), strict=True
    ):
        assert np.abs(found).max() > 1e-8
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    "penalty", ["trace", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spectral_norm", "kl"))]
)
def test_a_graph_and_a_compiled_one_give_the_eager_penalty_and_gradients(penalty, pixels):
    # Two classes: the start of the solver, which is random and other under XLA, makes no difference.
    # Dense layers, which compile faster than convolutions.
    model = dense_net("tanh")
    classifier, regularizer = kf.Classifier(model), FisherRegularizer(0.5, penalty, epsilon=0.5)

    def run(images, step):
        with tf.GradientTape() as tape:
            penalty = regularizer(classifier, images, step)
        return penalty, tape.gradient(penalty, model.trainable_weights)

    expected = run(tf.constant(pixels), tf.constant(2))
    unknown = [tf.TensorSpec([None, 6, 6, 1], tf.float64), tf.TensorSpec([], tf.int32)]
    for program in (tf.function(run, input_signature=unknown), tf.function(run, jit_compile=True)):
        found = program(tf.constant(pixels), tf.constant(2))
        for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("penalty", ["spectral_norm", "trace"])
def test_an_image_around_which_nothing_changes_adds_nothing_to_the_gradients(penalty, compiled, pixels):
    # Dead units: both logits are zero, at which the trace draws an L z = 0 every other time.
    model = dense_net("relu")
    kernel, bias, last, _ = model.get_weights()
    model.set_weights([-np.abs(kernel), np.full(bias.shape, -1.0), last, np.zeros(2)])
    classifier, regularizer = kf.Classifier(model), FisherRegularizer(penalty=penalty)
    zero = tf.UnconnectedGradients.ZERO

    @tf.function(jit_compile=compiled)
    def run(images, step):
        with tf.GradientTape() as tape:
            penalty = regularizer(classifier, images, step)
        return penalty, tape.gradient(penalty, model.trainable_weights, unconnected_gradients=zero)

    for step in range(3):
        for part in tf.nest.flatten(run(tf.constant(pixels), tf.constant(step))):
            np.testing.assert_array_equal(part, np.zeros(part.shape))


@pytest.mark.parametrize("penalty", ["spectral_norm", "trace"])
def test_a_few_steps_down_the_penalty_lower_the_top_eigenvalue(penalty, pixels):
    model = small_net("float32", activation="softmax")
    images = pixels.astype(np.float32)
    classifier, regularizer = kf.Classifier(model), FisherRegularizer(1.0, penalty)
    optimizer = keras.optimizers.SGD(0.3)
    before = top_eigenvalues(model, images)

    @tf.function
    def descend(step):
        with tf.GradientTape() as tape:
            loss = regularizer(classifier, images, step)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True)
        )

    optimizer.build(model.trainable_weights)
    for step in range(20):
        descend(tf.constant(step))
    after = top_eigenvalues(model, images)
    assert after.mean() < 0.8 * before.mean()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: FisherRegularizer(0.0), ValueError, "`weight` must be a finite number above 0, got 0"),
        (lambda: FisherRegularizer(-1.0), ValueError, "`weight`"),
        (lambda: FisherRegularizer(float("nan")), ValueError, "`weight`"),
        (lambda: FisherRegularizer("much"), TypeError, "`weight` must be a real number"),
        (
            lambda: FisherRegularizer(1.0, "nuclear"),
            ValueError,
            "`penalty` must be one of 'spectral_norm', 'trace', 'kl', got 'nuclear'",
        ),
        (lambda: FisherRegularizer(penalty="kl", epsilon=0.0), ValueError, "`epsilon` must be a finite"),
        (lambda: FisherRegularizer(epsilon="big"), TypeError, "`epsilon` must be a real number"),
        (lambda: FisherRegularizer(solver="svd"), ValueError, "`solver` must be one of 'auto', 'exact'"),
        (lambda: FisherRegularizer(solver=3), TypeError, "`solver` must be a name or an object"),
        (lambda: FisherRegularizer(seed=-1), ValueError, r"`seed` must be in \[0, 2147483647\], got -1"),
        (lambda: FisherRegularizer(seed=2**31), ValueError, "`seed`"),
        (lambda: FisherRegularizer(seed=0.5), TypeError, "`seed` must be an integer"),
        (lambda: FisherRegularizer(1.0, "kl", 1.5), TypeError, "positional"),
    ],
)
def test_bad_settings_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_sampled_solver_and_a_model_that_is_none_are_refused(double, pixels):
    for penalty in ("spectral_norm", "kl"):
        with pytest.raises(ValueError, match="`solver` must be deterministic in training, got Sampled"):
            FisherRegularizer(penalty=penalty, solver="alias_power")(double, pixels)
    with pytest.raises(TypeError, match=r"keras\.Model"):
        FisherRegularizer()(np.eye(3), pixels)


def test_a_keras_model_is_taken_within_a_graph_too(pixels):
    model = small_net("float32")
    images = tf.constant(pixels.astype(np.float32))
    regularizer = FisherRegularizer(solver="exact")
    inside = tf.function(lambda images: regularizer(model, images))(images)
    np.testing.assert_allclose(inside, regularizer(kf.Classifier(model), images), rtol=1e-5)


@pytest.mark.parametrize("penalty", ["spectral_norm", "trace", "kl"])
def test_an_image_of_an_infinite_slope_counts_as_zero_and_poisons_no_weight(penalty):
    # A12: the square root at 0.
    layers = [keras.layers.Lambda(tf.sqrt), keras.layers.Flatten(), keras.layers.Dense(4, "tanh")]
    net = keras.Sequential([keras.Input((3, 3, 1)), *layers, keras.layers.Dense(3)])
    images = np.random.default_rng(0).uniform(0.1, 1.0, (3, 3, 3, 1)).astype(np.float32)
    images[0] = 0.0
    images[2, 1, 1] = 0.0
    classifier = kf.Classifier(net)
    regularizer = kf.losses.FisherRegularizer(3.0, penalty)
    with tf.GradientTape() as tape:
        value = regularizer(classifier, tf.constant(images))
    gradients = tape.gradient(value, net.trainable_weights, unconnected_gradients="zero")
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    per_image = regularizer.per_image(classifier.target, tf.constant(images)).numpy()
    np.testing.assert_array_equal(per_image > 0, [False, True, False])
    np.testing.assert_allclose(value, per_image.sum(), rtol=1e-6)
