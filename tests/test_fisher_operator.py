"""FisherOperator against explicit matrices by another route, SciPy, and the coverage of its errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

import keras_fisher as kf

SHAPE = (5, 4, 2)


def net(num_outputs: int, activation: str | None = None) -> keras.Model:
    """A smooth net in float64."""
    keras.utils.set_random_seed(num_outputs)
    images = keras.Input(SHAPE, dtype="float64")
    with_dtype = {"dtype": "float64"}
    hidden = keras.layers.Conv2D(6, 2, activation="elu", **with_dtype)(images)
    hidden = keras.layers.Flatten(**with_dtype)(hidden)
    hidden = keras.layers.Dense(30, activation="tanh", name="hidden", **with_dtype)(hidden)
    return keras.Model(images, keras.layers.Dense(num_outputs, activation=activation, **with_dtype)(hidden))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(3, *SHAPE))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return net(7)


@pytest.fixture(scope="module")
def expected(model, images) -> np.ndarray:
    """G by differences of the logits, and the sum over classes of p ∇log p ∇log pᵀ."""
    step = 1e-5
    matrices = []
    for image in images:
        units = np.eye(40).reshape(40, *SHAPE) * step
        ahead, behind = (np.asarray(model(image + sign * units)) for sign in (1, -1))
        jacobian = ((ahead - behind) / (2 * step)).T
        z = np.asarray(model(image[None]))[0]
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        scores = jacobian - p @ jacobian
        matrices.append(np.einsum("c,ci,cj->ij", p, scores, scores))
    return np.stack(matrices)


@pytest.fixture(scope="module")
def operator(model, images) -> kf.FisherOperator:
    return kf.FisherOperator(model, images, batch_size=2)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


def test_products_and_quadratic_forms_are_those_of_the_explicit_matrix(operator, expected):
    vectors = (
        np.random.default_rng(1).standard_normal((3, 4, *SHAPE))
        * np.array([1e-9, 1, 3, 1e9])[:, None, None, None]
    )
    rows = vectors.reshape(3, 4, 40)
    for index in range(4):
        close(
            (operator @ vectors)[:, index].reshape(3, 40),
            np.einsum("nij,nj->ni", expected, rows[:, index]),
        )
        close(
            operator.quadratic_form(vectors)[:, index],
            np.einsum("ni,nij,nj->n", rows[:, index], expected, rows[:, index]),
        )
    close(operator @ vectors[:, 1], (operator @ vectors)[:, 1])
    assert operator.quadratic_form(vectors[:, 1]).shape == (3,)


def test_the_dense_matrix_trace_diagonal_and_norm_are_exact_where_the_rank_is_small(operator, expected):
    close(operator.to_dense(), expected)
    for found, value in (
        (operator.trace(), np.trace(expected, axis1=1, axis2=2)),
        (operator.diagonal(), np.einsum("nii->ni", expected).reshape(3, *SHAPE)),
        (operator.frobenius_norm(), np.linalg.norm(expected, axis=(1, 2))),
    ):
        close(found.value, value)
        assert found.is_exact
        assert not found.standard_error.any()
        assert found.num_backward == operator.rank_bound == 6


def test_scipy_finds_the_eigenpairs_of_one_image(operator, expected):
    linear = operator.to_scipy(1)
    values, vectors = eigsh(linear, k=3)
    close(np.sort(values), np.linalg.eigvalsh(expected[1])[-3:])
    close(linear @ vectors, expected[1] @ vectors)
    close(linear.T @ vectors[:, 0], expected[1] @ vectors[:, 0])


@pytest.mark.parametrize(
    ("likelihood", "activation", "metric"),
    [
        (kf.likelihoods.Gaussian(0.5), None, lambda z: 4.0 * np.eye(len(z))),
        (kf.likelihoods.Bernoulli(), "sigmoid", lambda p: np.diag(p * (1 - p))),
    ],
)
def test_other_likelihoods_have_their_own_metric(likelihood, activation, metric, images):
    model = net(5, activation)
    operator = kf.FisherOperator(model, images, likelihood)
    with_logits = keras.Model(model.inputs, model.layers[-1].output)
    outputs = np.asarray(with_logits(images))
    categorical = [metric(output) for output in outputs]
    identity = kf.FisherOperator(net(5, None), images, kf.likelihoods.Gaussian(1.0))
    jacobians = identity.to_dense()  # Jᵀ J of the same weights
    assert operator.rank_bound == 5
    if activation is None:
        close(operator.to_dense(), 4.0 * jacobians)
    else:
        # tr Jᵀ diag(v) J lies between the extremes of v times tr Jᵀ J, which no other metric would give.
        traces = np.trace(operator.to_dense(), axis1=1, axis2=2) / np.trace(jacobians, axis1=1, axis2=2)
        for trace, variances in zip(traces, categorical, strict=True):
            assert np.diag(variances).min() < trace < np.diag(variances).max()
    close(operator.trace().value, np.trace(operator.to_dense(), axis1=1, axis2=2))


QUANTITIES = {
    "trace": lambda dense: np.trace(dense, axis1=1, axis2=2),
    "diagonal": lambda dense: np.einsum("nii->ni", dense),
    "frobenius_norm": lambda dense: np.linalg.norm(dense, axis=(1, 2)),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_an_estimate_is_unbiased_and_its_standard_error_covers_what_it_says(name, images):
    operator = kf.FisherOperator(net(60), images)
    truth = QUANTITIES[name](operator.to_dense())
    found = [getattr(operator, name)(max_backward=24, seed=seed) for seed in range(120)]
    assert not any(estimate.is_exact for estimate in found)
    assert {estimate.num_backward for estimate in found} == {24}
    values, errors = (
        np.stack([getattr(estimate, field) for estimate in found]).reshape(120, *truth.shape)
        for field in ("value", "standard_error")
    )
    # Two standard errors: 95 % of a normal variable, less for few probes. 120 seeds tell it to ±4 points.
    coverage = np.mean(np.abs(values - truth) <= 2 * errors)
    assert 0.85 < coverage < 0.995
    # The mean over the seeds is within four of its own standard errors (the norm's root is a little low).
    bias = np.abs(values.mean(axis=0) - truth) / (values.std(axis=0) / np.sqrt(120))
    assert np.median(bias) < (4 if name == "frobenius_norm" else 2)
    np.testing.assert_array_equal(
        getattr(operator, name)(max_backward=24, seed=3).value.ravel(), values[3].ravel()
    )


def test_more_passes_make_the_estimate_better(images):
    operator = kf.FisherOperator(net(60), images)
    truth = operator.trace().value
    spread = [
        np.std([operator.trace(max_backward=count, seed=seed).value / truth for seed in range(20)])
        for count in (12, 48)
    ]
    assert spread[1] < 0.5 * spread[0]


def test_the_trace_of_a_saturated_net_is_right_however_small(images):
    model = net(7)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([400.0 * kernel, bias])
    operator = kf.FisherOperator(model, images)
    spectrum = kf.fisher_spectrum(model, images)
    assert spectrum.eigenvalues[:, 0].min() < 1e-20
    np.testing.assert_allclose(operator.trace().value, spectrum.eigenvalues.sum(axis=1), rtol=1e-9)


def test_the_representation_is_one_line(operator):
    assert repr(operator) == "<FisherOperator of 3 images, 40 × 40 of rank at most 6>"
    assert repr(operator.trace()) == "<Estimate of 3 images: exact, 6 backward passes an image>"
    assert operator.shape == (3, 40, 40)
    assert len(operator) == 3


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda o: o @ np.zeros((2, *SHAPE)), ValueError, "`vectors` must have the shape"),
        (lambda o: o @ np.zeros((3, 40)), ValueError, "`vectors` must have the shape"),
        (lambda o: o @ np.array(["a"] * 3), TypeError, "`vectors` must be numbers"),
        (lambda o: o.to_scipy(3), ValueError, r"`index` must be in \[0, 2\]"),
        (lambda o: o.trace(max_backward=0), ValueError, "`max_backward`"),
        (lambda o: o.trace(max_backward=5), ValueError, "the rank bound 6"),
        (lambda o: o.trace(seed=-1), ValueError, "`seed`"),
        (lambda o: kf.FisherOperator(net(7), np.zeros((0, *SHAPE))), ValueError, "at least one image"),
        (lambda o: kf.FisherOperator(net(7), np.zeros((1, *SHAPE)), "gaussian"), TypeError, "`likelihood`"),
    ],
)
def test_bad_questions_are_refused(operator, ask, error, words):
    with pytest.raises(error, match=words):
        ask(operator)


def test_large_images_are_not_written_out():
    flat = keras.Sequential([keras.Input((80, 80, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    operator = kf.FisherOperator(flat, np.zeros((1, 80, 80, 1)))
    with pytest.raises(ValueError, match="at most 4096 pixels"):
        operator.to_dense()
    assert operator.to_scipy(0).shape == (6400, 6400)
