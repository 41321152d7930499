"""Likelihoods and alias tables against their closed forms."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_fisher as kf
from keras_fisher.fisher.alias_table import AliasTable
from keras_fisher.fisher.likelihoods import Bernoulli, Categorical, Gaussian, SampledCategorical

SHAPE = (4, 3, 2)


def linear_model(num_outputs: int, activation: str | None = None) -> keras.Model:
    """One dense layer: J is its kernel, whatever the image."""
    layers = [
        keras.Input(SHAPE),
        keras.layers.Flatten(),
        keras.layers.Dense(num_outputs, activation=activation),
    ]
    model = keras.Sequential(layers)
    generator = np.random.default_rng(num_outputs)
    model.set_weights([generator.standard_normal((24, num_outputs)), generator.standard_normal(num_outputs)])
    return model


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(5, *SHAPE)).astype(np.float32)


def eigenvalues_of(kernel: np.ndarray, output_metric: np.ndarray) -> np.ndarray:
    """Eigenvalues of K M Kᵀ, descending."""
    return np.linalg.eigvalsh(kernel @ output_metric @ kernel.T)[::-1]


@pytest.mark.parametrize(
    ("solver", "activation"),
    [
        ("exact", None),
        ("dense", "softmax"),
        ("lanczos", None),
        ("golub_kahan", "softmax"),
        *(
            pytest.param(*cell, marks=pytest.mark.slow)
            for cell in (("exact", "softmax"), ("dense", None), ("lanczos", "softmax"), ("golub_kahan", None))
        ),
    ],
)
def test_categorical_of_a_linear_model_has_its_closed_form(solver, activation, pixels):
    model = linear_model(5, activation)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    spectrum = kf.fisher_spectrum(model, pixels, num_eigenpairs=4, solver=solver)
    for image, found in zip(pixels.reshape(5, -1), spectrum.eigenvalues, strict=True):
        z = image @ kernel + bias
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        expected = eigenvalues_of(kernel, np.diag(p) - np.outer(p, p))[:4]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected[0])


@pytest.mark.parametrize(
    ("solver", "activation"),
    [
        ("exact", None),
        ("lanczos", "sigmoid"),
        ("golub_kahan", None),
        ("power", "sigmoid"),
        *(
            pytest.param(*cell, marks=pytest.mark.slow)
            for cell in (("exact", "sigmoid"), ("lanczos", None), ("golub_kahan", "sigmoid"), ("power", None))
        ),
    ],
)
def test_bernoulli_of_a_linear_model_has_its_closed_form(solver, activation, pixels):
    model = linear_model(6, activation)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    count = 1 if solver == "power" else 6
    spectrum = kf.fisher_spectrum(model, pixels, num_eigenpairs=count, solver=solver, likelihood=Bernoulli())
    for image, found in zip(pixels.reshape(5, -1), spectrum.eigenvalues, strict=True):
        p = 1 / (1 + np.exp(-(image @ kernel + bias)))
        expected = eigenvalues_of(kernel, np.diag(p * (1 - p)))[:count]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected[0])


@pytest.mark.parametrize("scale", [0.5, (0.1, 1.0, 3.0)])
def test_gaussian_of_a_linear_model_has_its_closed_form(scale, pixels):
    model = linear_model(3)
    kernel, _ = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    spectrum = kf.fisher_spectrum(model, pixels, likelihood=Gaussian(scale))
    precision = np.diag(np.broadcast_to(1.0 / np.square(scale), 3))
    expected = eigenvalues_of(kernel, precision)[:3]
    np.testing.assert_allclose(spectrum.eigenvalues, np.tile(expected, (5, 1)), rtol=1e-5)


def test_a_saturated_sigmoid_keeps_its_relative_accuracy(pixels):
    model = linear_model(2)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, np.array([400.0, -300.0])])
    spectrum = kf.fisher_spectrum(model, pixels, likelihood=Bernoulli())
    z = pixels.reshape(5, -1).astype(np.float64) @ kernel + [400.0, -300.0]
    # One label carries it all: λ₁ = e^{−|z|} ‖k‖² for the label with the smaller |z|.
    expected = np.exp(-np.abs(z[:, 1])) * np.sum(kernel[:, 1].astype(np.float64) ** 2)
    np.testing.assert_allclose(spectrum.eigenvalues[:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("likelihood", "parameters"),
    [
        (Categorical(), [[0.3, -1.0, 2.0, 0.0]]),
        (Categorical(), [[60.0, 0.0, -3.0, 59.0]]),
        (Bernoulli(), [[0.3, -1.0, 20.0, 0.0]]),
        (Gaussian((1.0, 2.0, 0.5, 3.0)), [[0.3, -1.0, 2.0, 0.0]]),
        (SampledCategorical(num_samples=7), [[0.3, -1.0, 0.5, 0.0]]),
        (SampledCategorical(num_samples=3), [[0.3, -1.0, 0.5, 0.0]]),
    ],
)
def test_the_ways_to_apply_a_metric_are_one_matrix(likelihood, parameters):
    metric = likelihood.metric(tf.constant(parameters, tf.float64))
    size = likelihood.factor_dim(4)
    factor = np.stack([metric.apply(tf.one_hot([i], size, dtype=tf.float64))[0] for i in range(size)], axis=1)
    transpose = np.stack(
        [metric.apply_transpose(tf.one_hot([i], 4, dtype=tf.float64))[0] for i in range(4)], axis=1
    )
    np.testing.assert_allclose(factor.T, transpose, atol=1e-12)
    mixing, basis = metric.basis()
    np.testing.assert_allclose((mixing @ basis)[0], transpose, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(metric.start()), 1.0, rtol=1e-12)
    scale = float(tf.exp(metric.log_scale[0]))
    if isinstance(likelihood, Categorical):
        p = tf.nn.softmax(tf.constant(parameters[0], tf.float64)).numpy()
        np.testing.assert_allclose(scale * factor @ factor.T, np.diag(p) - np.outer(p, p), atol=1e-15)


def test_the_sampled_metric_has_the_true_one_as_its_mean():
    logits = tf.constant([[0.5, 0.0, -0.5, 1.0]], tf.float64)
    p = tf.nn.softmax(logits)[0].numpy()
    metric = SampledCategorical(num_samples=200_000).metric(logits)
    columns = [
        metric.apply(metric.apply_transpose(tf.one_hot([i], 4, dtype=tf.float64)))[0] for i in range(4)
    ]
    np.testing.assert_allclose(np.stack(columns), np.diag(p) - np.outer(p, p), atol=3e-3)


def implied(table: AliasTable) -> np.ndarray:
    """The distribution that a table encodes, exactly: each column's own share and what it gives away."""
    acceptance, alias = table.acceptance.numpy(), table.alias.numpy()
    total = acceptance.copy()
    for row in range(len(alias)):
        np.add.at(total[row], alias[row], 1.0 - acceptance[row])
    return total / acceptance.shape[1]


@settings(max_examples=40, deadline=None)
@given(
    weights=st.lists(
        st.lists(st.sampled_from([0.0, 1e-12, 1e-3, 0.2, 1.0, 5.0]), min_size=7, max_size=7).filter(any),
        min_size=3,
        max_size=3,
    )
)
def test_alias_tables_encode_exactly_their_distributions(weights):
    weights = np.array(weights)
    expected = weights / weights.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(implied(AliasTable(tf.constant(weights))), expected, atol=1e-15 * 20)


def test_a_thousand_classes_and_two():
    for count in (2, 1000):
        weights = np.random.default_rng(count).dirichlet(np.full(count, 0.1), size=4)
        np.testing.assert_allclose(implied(AliasTable(tf.constant(weights))), weights, atol=1e-13)


def test_draws_have_the_right_frequencies_and_repeat():
    weights = np.array([[0.5, 0.0, 0.3, 0.2], [0.0, 0.0, 1.0, 0.0]])
    table = AliasTable(tf.constant(weights))
    draws = table.draw(100_000, seed=3).numpy()
    frequencies = np.stack([np.bincount(row, minlength=4) for row in draws]) / 100_000
    np.testing.assert_allclose(frequencies, weights, atol=0.01)
    assert frequencies[0, 1] == 0
    np.testing.assert_array_equal(draws, table.draw(100_000, seed=3).numpy())
    assert (draws[0] != table.draw(100_000, seed=4).numpy()[0]).any()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Gaussian(0.0), ValueError),
        (lambda: Gaussian((1.0, -1.0)), ValueError),
        (lambda: Gaussian("wide"), TypeError),
        (lambda: SampledCategorical(num_samples=0), ValueError),
        (lambda: kf.solvers.Sampled("power"), TypeError),
    ],
)
def test_bad_settings_are_refused(make, error):
    with pytest.raises(error):
        make()


def test_a_scale_for_each_output_must_be_one_for_each(pixels):
    with pytest.raises(ValueError, match="one entry for each of the 3 outputs, got 2"):
        kf.fisher_spectrum(linear_model(3), pixels, likelihood=Gaussian((1.0, 2.0)))


def test_draws_need_classes(pixels):
    with pytest.raises(ValueError, match="draws classes"):
        kf.fisher_spectrum(linear_model(3), pixels, likelihood=Gaussian(), solver="alias_power")


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_categorical_start_at_a_class_leads_to_its_loss_gradient(scale):
    # L u must be along p − e_c for every class c, the top one of a saturated softmax included.
    logits = scale * np.random.default_rng(4).standard_normal((6, 5))
    metric = Categorical().metric(tf.constant(logits))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    for index in range(5):
        classes = np.full(6, index)
        start = metric.start_at(tf.constant(classes))
        np.testing.assert_allclose(np.linalg.norm(start, axis=-1), 1.0, rtol=1e-12)
        found = metric.apply(start).numpy()
        # (p − e_c) / (1 − p_c): from differences of logits, no cancellation.
        others = np.where(np.arange(5) == index, -np.inf, shifted)
        rest = np.exp(others - others.max(axis=-1, keepdims=True))
        expected = rest / rest.sum(axis=-1, keepdims=True) - np.eye(5)[index]
        cosine = np.sum(found * expected, axis=-1)
        cosine /= np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
        np.testing.assert_allclose(cosine, 1.0, atol=1e-9)


def test_likelihood_without_classes_has_no_start_at_one():
    metric = Gaussian().metric(tf.zeros((2, 3), tf.float64))
    with pytest.raises(NotImplementedError, match="no classes"):
        metric.start_at(tf.constant([0, 1]))
