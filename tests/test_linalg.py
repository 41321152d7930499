"""Every eigensolver against numpy.linalg.eigh and against the identities that define it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_fisher import linalg
from keras_fisher.linalg.operator import SymmetricOperator, norm, normalize, orthogonalize

SOLVERS = {
    "power": linalg.PowerIteration(max_iterations=2000, tolerance=1e-7),
    "lanczos": linalg.Lanczos(tolerance=1e-9),
    "golub_kahan": linalg.GolubKahan(tolerance=1e-9),
    "gram": linalg.Gram(),
    "dense": linalg.Dense(),
}
MANY = [name for name in SOLVERS if name != "power"]


def with_spectrum(spectrum: list[float], seed: int = 0, batch: int = 1) -> np.ndarray:
    """(batch, n, n) symmetric matrices with these eigenvalues and random eigenvectors."""
    generator = np.random.default_rng(seed)
    size = len(spectrum)
    bases = np.linalg.qr(generator.standard_normal((batch, size, size)))[0]
    return np.einsum("bij,j,bkj->bik", bases, np.asarray(spectrum), bases)


@functools.cache
def compiled(name: str, size: int, count: int):
    """A tf.function of (batch, size, size) matrices of any batch size."""

    @tf.function(input_signature=[tf.TensorSpec([None, size, size], tf.float64)])
    def run(matrices):
        return tuple(SOLVERS[name].solve(linalg.DenseOperator(matrices), count))

    return run


def solve(name: str, matrices: np.ndarray, count: int) -> linalg.Eigenpairs:
    """Solves for explicit matrices, inside a tf.function."""
    run = compiled(name, matrices.shape[1], count)
    return linalg.Eigenpairs(*(tensor.numpy() for tensor in run(tf.constant(matrices))))


class MatrixOnly(SymmetricOperator):
    """An operator that is known by its products alone: no factor."""

    def __init__(self, matrices):
        self._matrices = tf.constant(matrices)

    @property
    def dim(self):
        return self._matrices.shape[1]

    @property
    def batch_size(self):
        return tf.shape(self._matrices)[0]

    def matvec(self, vectors):
        return tf.linalg.matvec(self._matrices, vectors)


@pytest.mark.parametrize("name", SOLVERS)
def test_top_pair_is_that_of_eigh_and_satisfies_its_equation(name):
    matrices = with_spectrum([5.0, 3.0, 1.0, 0.5, 0.0, 0.0], batch=3)
    pairs = solve(name, matrices, 1)
    expected = np.linalg.eigvalsh(matrices)[:, -1:]
    np.testing.assert_allclose(pairs.eigenvalues, expected, rtol=1e-7)
    vector = pairs.eigenvectors[:, 0]
    residual = np.einsum("bij,bj->bi", matrices, vector) - pairs.eigenvalues * vector
    assert np.linalg.norm(residual, axis=-1).max() < 1e-4 * 5.0
    np.testing.assert_allclose(np.linalg.norm(vector, axis=-1), 1.0, rtol=1e-12)
    assert pairs.converged.all()


@pytest.mark.parametrize("name", MANY)
def test_all_pairs_are_those_of_eigh_and_orthonormal(name):
    spectrum = [7.0, 4.0, 2.0, 1.0, 0.25]
    matrices = with_spectrum(spectrum, seed=3, batch=4)
    pairs = solve(name, matrices, 5)
    np.testing.assert_allclose(pairs.eigenvalues, np.tile(spectrum, (4, 1)), rtol=1e-8)
    gram = pairs.eigenvectors @ pairs.eigenvectors.transpose(0, 2, 1)
    np.testing.assert_allclose(gram, np.tile(np.eye(5), (4, 1, 1)), atol=1e-7)
    rebuilt = np.einsum("bki,bk,bkj->bij", pairs.eigenvectors, pairs.eigenvalues, pairs.eigenvectors)
    np.testing.assert_allclose(rebuilt, matrices, atol=1e-6)


@pytest.mark.parametrize("name", MANY)
@settings(max_examples=60, deadline=None)
@given(
    spectrum=st.lists(
        st.sampled_from([0.0, 1e-8, 0.1, 0.1, 0.999, 1.0, 1.0, 3.0, 1e6]), min_size=6, max_size=6
    ),
    seed=st.integers(0, 100),
)
def test_chosen_spectra_with_clusters_repeats_zeros_and_giants(name, spectrum, seed):
    matrices = with_spectrum(spectrum, seed)
    expected = np.sort(spectrum)[::-1]
    pairs = solve(name, matrices, 3)
    assert np.isfinite(pairs.eigenvalues).all()
    assert (pairs.eigenvalues >= 0).all()
    assert (np.diff(pairs.eigenvalues) <= 1e-12 * max(spectrum)).all()
    # No eigenvalue is invented: none exceeds its counterpart. One that is said to have converged is right.
    assert (pairs.eigenvalues[0] <= expected[:3] + 1e-9 * max(expected[0], 1)).all()
    if name in {"gram", "dense"} or pairs.converged[0]:
        np.testing.assert_allclose(pairs.eigenvalues[0], expected[:3], atol=1e-6 * max(expected[0], 1e-30))


def test_lanczos_finds_the_multiplicity_of_the_identity():
    # Without a breakdown check the second direction is rounding, and its "eigenvalue" anything.
    pairs = solve("lanczos", 2.0 * np.eye(4)[None], 4)
    np.testing.assert_allclose(pairs.eigenvalues, 2.0, rtol=1e-12)
    np.testing.assert_allclose(pairs.eigenvectors[0] @ pairs.eigenvectors[0].T, np.eye(4), atol=1e-12)


def test_golub_kahan_goes_on_after_a_breakdown():
    # The start vector (the longest row) is an eigenvector: the space is invariant after one step.
    pairs = solve("golub_kahan", np.diag([4.0, 3.0, 2.0, 1.0])[None], 3)
    np.testing.assert_allclose(pairs.eigenvalues[0], [4.0, 3.0, 2.0], rtol=1e-9)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_zero_matrix_has_zero_eigenvalues_and_no_nan(name):
    pairs = solve(name, np.zeros((2, 3, 3)), 1)
    assert (pairs.eigenvalues == 0).all()
    assert (pairs.residual_norms == 0).all()
    assert np.isfinite(pairs.eigenvectors).all()
    assert pairs.converged.all()


@pytest.mark.parametrize("name", ["power", "lanczos", "dense"])
def test_an_operator_without_a_factor_is_enough(name):
    matrices = with_spectrum([3.0, 2.0, 1.0], seed=5)
    pairs = SOLVERS[name].solve(MatrixOnly(matrices), 1)
    np.testing.assert_allclose(pairs.eigenvalues, [[3.0]], rtol=1e-7)


@pytest.mark.parametrize("name", ["golub_kahan", "gram"])
def test_solvers_that_need_a_factor_say_so(name):
    with pytest.raises(TypeError, match="FactoredOperator"):
        SOLVERS[name].solve(MatrixOnly(np.eye(3)[None]), 1)


@pytest.mark.parametrize("name", ["lanczos", "golub_kahan", "gram", "dense"])
@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_a_rectangular_factor_gives_its_squared_singular_values(name, shape):
    factors = np.random.default_rng(1).standard_normal((2, *shape))
    pairs = SOLVERS[name].solve(linalg.DenseOperator(factors=factors), 3)
    singular = np.linalg.svd(factors, compute_uv=False)
    np.testing.assert_allclose(pairs.eigenvalues, np.square(singular), rtol=1e-7)
    images = np.einsum("bij,bkj->bki", factors, pairs.eigenvectors)
    np.testing.assert_allclose(np.linalg.norm(images, axis=-1), singular, rtol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_matrices_of_one_batch_do_not_touch_each_other(name):
    # One easy matrix, one with a tiny gap: the easy one must not wait for the other, nor be changed by it.
    easy, hard = with_spectrum([9.0, 0.1, 0.1, 0.1], seed=1), with_spectrum([1.0, 0.98, 0.9, 0.5], seed=2)
    together = solve(name, np.concatenate([easy, hard]), 1)
    for index, alone in enumerate((solve(name, easy, 1), solve(name, hard, 1))):
        np.testing.assert_allclose(together.eigenvalues[index], alone.eigenvalues[0], rtol=1e-12)
        assert together.num_products[index] == alone.num_products[0]
    if name == "power":
        assert together.num_products[0] < together.num_products[1]


def test_power_iteration_that_runs_out_says_so_with_its_true_residual():
    matrices = with_spectrum([1.0, 0.99, 0.98], seed=4)
    pairs = linalg.PowerIteration(max_iterations=3, tolerance=1e-6).solve(linalg.DenseOperator(matrices), 1)
    vector = pairs.eigenvectors[0, 0].numpy()
    value = float(pairs.eigenvalues[0, 0])
    residual = np.linalg.norm(matrices[0] @ vector - value * vector) / value
    assert not bool(pairs.converged[0])
    np.testing.assert_allclose(float(pairs.residual_norms[0, 0]), residual, rtol=1e-6)


def test_lanczos_with_too_small_a_space_says_so():
    matrices = with_spectrum(list(np.linspace(1.0, 0.5, 12)), seed=4)
    pairs = linalg.Lanczos(max_dimension=3).solve(linalg.DenseOperator(matrices), 2)
    assert not bool(pairs.converged[0])
    assert float(pairs.residual_norms[0, 0]) > 1e-4


class KnownStart(linalg.DenseOperator):
    """An operator whose start is believed from the first step on, as that of a confident classifier is."""

    def least_dimension(self):
        return tf.ones([self.batch_size], tf.int32)


def test_golub_kahan_takes_its_time_where_the_start_may_be_bad():
    # Without, one of these settles on the second eigenvalue, with an error of 10 %.
    matrices = with_spectrum([1.0, 0.9, 0.8, 0.3, 0.1, 0.0], seed=6, batch=50)
    careful = linalg.GolubKahan().solve(linalg.DenseOperator(matrices), 1)
    hasty = linalg.GolubKahan().solve(KnownStart(matrices), 1)
    assert np.abs(careful.eigenvalues.numpy() - 1.0).max() < 1e-6
    assert np.abs(hasty.eigenvalues.numpy() - 1.0).max() > 0.05


def test_golub_kahan_error_estimate_holds_where_the_gap_is_small():
    matrices = with_spectrum([1.0, 0.9, 0.8, 0.3, 0.1, 0.0], seed=6, batch=50)
    pairs = linalg.GolubKahan(tolerance=1e-3).solve(KnownStart(matrices), 1)
    # The start, the longest row of the square root, is a unit vector of this space. A start that has nearly
    # nothing of the top eigenvector can settle on the second: the documented blind spot.
    _, vectors = np.linalg.eigh(matrices)
    longest = np.argmax(np.einsum("bii->bi", matrices), axis=-1)
    sees_top = np.abs(vectors[np.arange(50), longest, -1]) > 0.2
    assert sees_top.sum() > 35
    assert pairs.converged.numpy().all()
    errors = np.abs(pairs.eigenvalues.numpy() - 1.0)[sees_top, 0]
    assert errors.max() < 5e-3  # The gap is an estimate too: right to a factor of five here.
    assert (errors <= pairs.residual_norms.numpy()[sees_top, 0] + 1e-14).all()  # The bound, and rounding.
    assert pairs.num_products.numpy().max() < 13  # It did stop early.


def test_dense_refuses_a_matrix_that_would_take_minutes():
    with pytest.raises(ValueError, match="max_dim=10"):
        linalg.Dense(max_dim=10).solve(linalg.DenseOperator(np.eye(11)[None]), 1)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: linalg.PowerIteration(max_iterations=0), ValueError),
        (lambda: linalg.PowerIteration(tolerance=0.0), ValueError),
        (lambda: linalg.PowerIteration(tolerance="small"), TypeError),
        (lambda: linalg.Lanczos(max_dimension=2.5), TypeError),
        (lambda: linalg.GolubKahan(tolerance=float("nan")), ValueError),
        (lambda: linalg.Dense(max_dim=0), ValueError),
        (lambda: linalg.DenseOperator(), ValueError),
    ],
)
def test_bad_settings_are_refused(make, error):
    with pytest.raises(error):
        make()


def test_norms_survive_where_squares_underflow_and_overflow():
    vectors = tf.constant([[3e-200, 4e-200], [3e200, 4e200], [0.0, 0.0]], tf.float64)
    np.testing.assert_allclose(norm(vectors).numpy(), [5e-200, 5e200, 0.0], rtol=1e-14)
    np.testing.assert_allclose(normalize(vectors)[0].numpy(), [[0.6, 0.8], [0.6, 0.8], [0, 0]], rtol=1e-14)


def test_orthogonalize_leaves_nothing_of_a_nearly_dependent_vector():
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.standard_normal((30, 5)))[0].T[None]
    vector = basis[:, 0] + 1e-9 * generator.standard_normal((1, 30))
    left = orthogonalize(tf.constant(vector), tf.constant(basis)).numpy()
    assert np.abs(basis[0] @ left[0]).max() < 1e-15 * 10
    assert np.linalg.norm(left) > 1e-9


def test_golub_kahan_points_to_the_side_of_the_first_product():
    matrices = with_spectrum([3.0, 1.0, 0.5, 0.1, 0.0], seed=2, batch=40)
    operator = linalg.DenseOperator(matrices)
    first = operator.apply_transpose(operator.start()).numpy()
    for count in (1, 2):
        vectors = linalg.GolubKahan(tolerance=1e-9).solve(operator, count).eigenvectors.numpy()
        inner = np.einsum("bkd,bd->bk", vectors, first)
        assert (inner[:, 0] > 0).all()
