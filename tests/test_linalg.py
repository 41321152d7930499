"""Every eigensolver against numpy.linalg.eigh and against the identities that define it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_fisher import linalg
from keras_fisher.linalg.operators import Product, SymmetricOperator
from keras_fisher.linalg.vectors import dot, norm, normalize, orthogonalize

SOLVERS = {
    "power": linalg.PowerIteration(max_iterations=2000, tolerance=1e-7),
    "lanczos": linalg.Lanczos(tolerance=1e-9),
    "golub_kahan": linalg.GolubKahan(tolerance=1e-9),
    "gram": linalg.Gram(),
    "dense": linalg.Dense(),
    "fixed_golub_kahan": linalg.FixedGolubKahan(num_products=12, tolerance=1e-6),
}
MANY = [name for name in SOLVERS if name not in ("power", "fixed_golub_kahan")]


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
    return linalg.Eigenpairs(*(None if part is None else part.numpy() for part in run(tf.constant(matrices))))


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
        images = tf.linalg.matvec(self._matrices, vectors)
        return Product(images, dot(vectors, images))


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
    # Golub–Kahan takes rows that depend on each other to 1e-7 for one.
    slack = 1e-7 if name == "golub_kahan" else 1e-9
    assert (pairs.eigenvalues[0] <= expected[:3] + slack * max(expected[0], 1)).all()
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
    np.testing.assert_allclose(np.linalg.norm(pairs.eigenvectors, axis=-1), 1.0, rtol=1e-12)
    # Products in which all cancels look the same: only the direct methods vouch for zero.
    np.testing.assert_array_equal(pairs.converged, np.full(2, name in {"gram", "dense"}))


@pytest.mark.parametrize("name", ["power", "lanczos", "dense"])
def test_an_operator_without_a_factor_is_enough(name):
    matrices = with_spectrum([3.0, 2.0, 1.0], seed=5)
    pairs = SOLVERS[name].solve(MatrixOnly(matrices), 1)
    np.testing.assert_allclose(pairs.eigenvalues, [[3.0]], rtol=1e-7)


@pytest.mark.parametrize("name", ["golub_kahan", "gram", "fixed_golub_kahan"])
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
    # One easy matrix, one with a tiny gap: the easy one is not changed by the other, but pays as long as it,
    # unless the solver lets it go.
    easy, hard = with_spectrum([9.0, 0.1, 0.1, 0.1], seed=1), with_spectrum([1.0, 0.98, 0.9, 0.5], seed=2)
    together = solve(name, np.concatenate([easy, hard]), 1)
    alone = [solve(name, easy, 1), solve(name, hard, 1)]
    for index, part in enumerate(alone):
        np.testing.assert_allclose(together.eigenvalues[index], part.eigenvalues[0], rtol=1e-12)
    paid = max(part.num_products[0] for part in alone)
    assert together.num_products[1] == paid
    assert together.num_products[0] == (alone[0].num_products[0] if name == "golub_kahan" else paid)
    if name == "power":
        assert alone[0].num_products[0] < paid


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
    # Without, ten of these settle on the second eigenvalue, with an error of 10 %.
    matrices = with_spectrum([1.0, 0.9, 0.8, 0.3, 0.1, 0.0], seed=6, batch=400)
    careful = linalg.GolubKahan().solve(linalg.DenseOperator(matrices), 1)
    hasty = linalg.GolubKahan().solve(KnownStart(matrices), 1)
    assert np.abs(careful.eigenvalues.numpy() - 1.0).max() < 1e-6
    assert np.abs(hasty.eigenvalues.numpy() - 1.0).max() > 0.05


def test_golub_kahan_error_estimate_holds_where_the_gap_is_small():
    matrices = with_spectrum([1.0, 0.9, 0.8, 0.3, 0.1, 0.0], seed=6, batch=50)
    pairs = linalg.GolubKahan(tolerance=2e-4).solve(KnownStart(matrices), 1)
    # The start, the longest row of the square root, is a unit vector of this space. A start that has nearly
    # nothing of the top eigenvector can settle on the second: the documented blind spot.
    _, vectors = np.linalg.eigh(matrices)
    longest = np.argmax(np.einsum("bii->bi", matrices), axis=-1)
    sees_top = np.abs(vectors[np.arange(50), longest, -1]) > 0.2
    assert sees_top.sum() > 35
    assert pairs.converged.numpy().all()
    errors = np.abs(pairs.eigenvalues.numpy() - 1.0)[sees_top, 0]
    assert errors.max() < 1e-3  # The gap is an estimate too: right to a factor of 5 here.
    assert (errors <= pairs.residual_norms.numpy()[sees_top, 0] + 1e-13).all()  # The bound, and rounding.


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
        (lambda: linalg.FixedGolubKahan(num_products=0), ValueError),
        (lambda: linalg.FixedGolubKahan(num_products=1.5), TypeError),
        (lambda: linalg.FixedGolubKahan(tolerance=0.0), ValueError),
        (lambda: linalg.FixedGolubKahan(tolerance=1.5), ValueError),
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
    left = orthogonalize(tf.constant(vector[:, None]), tf.constant(basis)).numpy()[:, 0]
    assert np.abs(basis[0] @ left[0]).max() < 1e-15 * 10
    assert np.linalg.norm(left) > 1e-9


def test_golub_kahan_points_to_the_side_of_the_first_product():
    matrices = with_spectrum([3.0, 1.0, 0.5, 0.1, 0.0], seed=2, batch=40)
    operator = linalg.DenseOperator(matrices)
    first = operator.apply_transpose(operator.start(0)).numpy()
    for count in (1, 2):
        vectors = linalg.GolubKahan(tolerance=1e-9).solve(operator, count).eigenvectors.numpy()
        inner = np.einsum("bkd,bd->bk", vectors, first)
        assert (inner[:, 0] > 0).all()


def ritz(factor: np.ndarray, start: np.ndarray, num_steps: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The largest Ritz pair of R Rᵀ in the span of u, R Rᵀ u, …, and its unit Rᵀ u: no recurrence."""
    outer = factor @ factor.T
    powers = [np.linalg.matrix_power(outer, power) @ start for power in range(num_steps)]
    basis = np.linalg.qr(np.stack(powers, axis=1))[0]
    values, columns = np.linalg.eigh(basis.T @ outer @ basis)
    vector = basis @ columns[:, -1]
    lifted = factor.T @ vector
    return values[-1], vector, lifted / np.linalg.norm(lifted)


@pytest.mark.parametrize("num_products", [1, 2, 3, 4, 5, 6])
def test_fixed_golub_kahan_is_rayleigh_ritz_in_the_space_of_its_start(num_products):
    factors = np.random.default_rng(7).standard_normal((6, 5, 9))
    operator = linalg.DenseOperator(factors=factors)
    pairs = linalg.FixedGolubKahan(num_products).solve(operator, 1)
    for index, (factor, start) in enumerate(zip(factors, operator.start(0).numpy(), strict=True)):
        if num_products % 2:
            value, left, vector = ritz(factor, start, (num_products + 1) // 2)
        else:  # In the space of Rᵀu, RᵀR Rᵀu, …: the other way round.
            value, vector, left = ritz(factor.T, factor.T @ start, num_products // 2)
        assert abs(pairs.left_vectors[index, 0].numpy() @ left) > 1 - 1e-11
        # The powers are a basis of condition 1e3 or so.
        np.testing.assert_allclose(float(pairs.eigenvalues[index, 0]), value, rtol=1e-11)
        assert abs(pairs.eigenvectors[index, 0].numpy() @ vector) > 1 - 1e-11


@pytest.mark.parametrize("shape", [(3, 8), (5, 5)])
def test_fixed_golub_kahan_with_as_many_steps_as_the_rank_is_exact(shape):
    factors = np.random.default_rng(1).standard_normal((4, *shape))
    solver = linalg.FixedGolubKahan(num_products=2 * min(shape))
    pairs = solver.solve(linalg.DenseOperator(factors=factors), 1)
    singular = np.linalg.svd(factors, compute_uv=False)[:, :1]
    np.testing.assert_allclose(pairs.eigenvalues, np.square(singular), rtol=1e-13)
    assert pairs.residual_norms.numpy().max() < 1e-12
    assert pairs.converged.numpy().all()


def test_fixed_golub_kahan_takes_one_step_more_than_the_rank_where_the_start_is_not_in_the_range():
    factors = np.random.default_rng(1).standard_normal((4, 8, 3))
    operator = linalg.DenseOperator(factors=factors)
    singular = np.linalg.svd(factors, compute_uv=False)[:, :1]
    as_rank = linalg.FixedGolubKahan(num_products=5).solve(operator, 1)
    assert (as_rank.eigenvalues.numpy() < np.square(singular) * (1 - 1e-5)).all()
    enough = linalg.FixedGolubKahan(num_products=50).solve(operator, 1)
    np.testing.assert_allclose(enough.eigenvalues, np.square(singular), rtol=1e-13)
    np.testing.assert_array_equal(enough.num_products, [8, 8, 8, 8])


@settings(max_examples=60, deadline=None)
@given(
    spectrum=st.lists(
        st.sampled_from([0.0, 1e-8, 0.1, 0.1, 0.999, 1.0, 1.0, 3.0, 1e6]), min_size=6, max_size=6
    ),
    seed=st.integers(0, 100),
)
def test_fixed_golub_kahan_in_the_full_space_is_right_for_clusters_repeats_zeros_and_giants(spectrum, seed):
    pairs = solve("fixed_golub_kahan", with_spectrum(spectrum, seed), 1)
    # R is a square root by eigh, itself right to 1e-16 of the largest entry.
    np.testing.assert_allclose(pairs.eigenvalues[0, 0], max(spectrum), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(pairs.eigenvectors[0, 0]), 1.0, rtol=1e-12)


def test_the_value_of_fixed_golub_kahan_grows_with_the_steps_and_never_exceeds_the_top_eigenvalue():
    matrices = with_spectrum([1.0, 0.9, 0.8, 0.3, 0.1, 0.05], seed=6, batch=20)
    operator = linalg.DenseOperator(matrices)
    values = np.array(
        [linalg.FixedGolubKahan(count).solve(operator, 1).eigenvalues[:, 0] for count in range(1, 13)]
    )
    assert values.max() < 1 + 1e-14 * 10
    assert np.diff(values[:9], axis=0).min() > 1e-6  # Krylov spaces of a simple spectrum: strictly.
    np.testing.assert_allclose(values[-1], 1.0, rtol=1e-12)


@pytest.mark.parametrize("num_products", [3, 4, 5, 6])
def test_fixed_golub_kahan_bounds_its_residual_and_converged_vouches_for_the_value(num_products):
    matrices = with_spectrum([1.0, 0.7, 0.2, 0.1, 0.02, 0.01], seed=8, batch=60)
    solver = linalg.FixedGolubKahan(num_products, tolerance=0.02)
    pairs = solver.solve(KnownStart(matrices), 1)
    values, vectors = pairs.eigenvalues.numpy(), pairs.eigenvectors.numpy()[:, 0]
    residuals = np.linalg.norm(np.einsum("bij,bj->bi", matrices, vectors) - values * vectors, axis=-1)
    # What comes next is taken for √θ, which is a little less than ‖R‖ = 1.
    assert (residuals <= pairs.residual_norms[:, 0].numpy() + 1e-12).all()
    # But for the documented blind spot: a start that has nearly nothing of the top eigenvector.
    _, basis = np.linalg.eigh(matrices)
    longest = np.argmax(np.einsum("bii->bi", matrices), axis=-1)
    sees_top = np.abs(basis[np.arange(60), longest, -1]) > 0.3
    errors = 1.0 - values[:, 0]
    converged = pairs.converged.numpy()
    assert errors[converged & sees_top].max() <= 0.02 * 1.5  # The gap is an estimate.
    assert (converged & sees_top).sum() > 5
    if num_products <= 4:
        assert (~converged).any()


class SecondAtFirst(linalg.DenseOperator):
    """An operator whose start is its second axis."""

    def start(self, seed):
        return tf.one_hot(tf.fill([self.batch_size], 1), self.factor_dim, dtype=tf.float64)


def test_fixed_golub_kahan_goes_on_after_a_breakdown():
    matrices = np.diag([4.0, 3.0, 2.0, 1.0])[None]
    start_is_top = linalg.FixedGolubKahan(num_products=5).solve(KnownStart(matrices), 1)
    np.testing.assert_allclose(start_is_top.eigenvalues, [[4.0]], rtol=1e-14)
    assert start_is_top.converged.numpy().all()
    # One step sees the second eigenvector, a full space the top one: the fresh direction leads to it.
    one = linalg.FixedGolubKahan(num_products=1).solve(SecondAtFirst(matrices), 1)
    np.testing.assert_allclose(one.eigenvalues, [[3.0]], rtol=1e-14)
    for seed in range(3):
        full = linalg.FixedGolubKahan(num_products=8).solve(SecondAtFirst(matrices), 1, seed=seed)
        np.testing.assert_allclose(full.eigenvalues, [[4.0]], rtol=1e-13)
        np.testing.assert_allclose(np.abs(full.eigenvectors[0, 0]), [1, 0, 0, 0], atol=1e-12)


def test_the_direction_that_leaves_a_breakdown_follows_the_seed():
    operator = SecondAtFirst(np.diag([4.0, 3.0, 2.0, 1.0])[None])
    solver = linalg.FixedGolubKahan(num_products=5)
    first, again, other = (
        solver.solve(operator, 1, seed=seed).eigenvalues.numpy().item() for seed in (0, 0, 1)
    )
    assert first == again
    assert abs(first - other) > 1e-6


class Counted(linalg.DenseOperator):
    """An operator that counts its products as they are executed; what nobody reads may be left out."""

    count = 0

    def _counted(self, vectors):
        def note(array):
            type(self).count += 1
            return array

        counted = tf.numpy_function(note, [vectors], tf.float64, stateful=False)
        return tf.ensure_shape(counted, vectors.shape)

    def apply(self, vectors):
        return super().apply(self._counted(vectors))

    def pull_back(self, vectors):
        return super().pull_back(self._counted(vectors))


@pytest.mark.parametrize(("num_products", "expected"), [(1, 1), (4, 4), (50, 10)])
def test_fixed_golub_kahan_makes_as_many_products_as_it_says(num_products, expected):
    factors = tf.constant(np.random.default_rng(0).standard_normal((2, 5, 7)))

    def run():
        return linalg.FixedGolubKahan(num_products).solve(Counted(factors=factors), 1)

    np.testing.assert_array_equal(run().num_products, [expected, expected])
    for read in (
        lambda pairs: pairs.eigenvectors,
        lambda pairs: pairs.eigenvalues,
        lambda pairs: (pairs.eigenvectors, pairs.converged, pairs.residual_norms),
    ):
        Counted.count = 0
        tf.function(lambda read=read: read(run()))()
        assert Counted.count == expected


# Direct methods take the rows as they are: they have no second product to compare with.
@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in ("gram", "dense")])
def test_products_that_are_all_rounding_do_not_converge(name):
    """Classes that cancel: R is a difference of nearly equal rows, and each product has its own rounding."""

    class Rounded(linalg.DenseOperator):
        def apply(self, vectors):
            return super().apply(vectors) + 1e-3 * tf.cos(1e4 * tf.reduce_sum(vectors))

        def pull_back(self, vectors):
            rows, scales = super().pull_back(vectors)
            return rows + 1e-3 * tf.sin(1e4 * tf.reduce_sum(vectors)), scales

        def least_dimension(self):
            return tf.ones([self.batch_size], tf.int32)

        @property
        def precision(self):
            return 1e-7

    factors = 1e-3 * np.random.default_rng(0).standard_normal((1, 6, 9))
    solver = dataclasses.replace(SOLVERS[name], tolerance=1e-3)
    # In a graph, where the many steps of some cost little.
    converged = tf.function(lambda: solver.solve(Rounded(factors=tf.constant(factors)), 1).converged)()
    assert not converged.numpy().any()


def test_fixed_golub_kahan_points_to_the_side_of_the_first_product():
    matrices = with_spectrum([3.0, 1.0, 0.5, 0.1, 0.0], seed=2, batch=40)
    operator = linalg.DenseOperator(matrices)
    first = operator.apply_transpose(operator.start(0)).numpy()
    vectors = linalg.FixedGolubKahan(num_products=5).solve(operator, 1).eigenvectors.numpy()[:, 0]
    assert (np.einsum("bd,bd->b", vectors, first) > 0).all()


def test_fixed_golub_kahan_finds_one_pair_and_forms_no_vector_unasked():
    solver = linalg.FixedGolubKahan()
    assert solver.default_num_eigenpairs(9) == solver.max_num_eigenpairs(9) == 1
    pairs = solver.solve(linalg.DenseOperator(np.eye(3)[None]), 1, eigenvectors=False)
    assert pairs.eigenvectors is None
    np.testing.assert_allclose(pairs.eigenvalues, [[1.0]])


@pytest.mark.slow
def test_fixed_golub_kahan_is_the_same_compiled_by_xla():
    factors = tf.constant(np.random.default_rng(8).standard_normal((10, 4, 6)))

    def run(factors):
        return tuple(linalg.FixedGolubKahan(num_products=5).solve(linalg.DenseOperator(factors=factors), 1))

    expected = linalg.Eigenpairs(*run(factors))
    found = linalg.Eigenpairs(*tf.function(run, jit_compile=True)(factors))
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, rtol=1e-9)
    # XLA's eigh stops its rotations at 1e-6, which a value feels squared.
    np.testing.assert_allclose(found.eigenvectors, expected.eigenvectors, atol=1e-5)
    np.testing.assert_allclose(found.residual_norms, expected.residual_norms, atol=1e-5)
    np.testing.assert_array_equal(found.num_products, expected.num_products)


def test_only_golub_kahan_has_shapes_that_are_not_static():
    assert [name for name, solver in SOLVERS.items() if not solver.has_static_shapes] == ["golub_kahan"]


#: Of one pair and of all pairs; the others are made of the same parts.
QUICK_WITH_XLA = ("fixed_golub_kahan", "gram", "power")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK_WITH_XLA else pytest.mark.slow)
        for name, solver in SOLVERS.items()
        if solver.has_static_shapes
    ],
)
def test_a_solver_that_says_its_shapes_are_static_compiles_with_xla(name):
    matrices = with_spectrum([5.0, 3.0, 0.0], seed=1, batch=2)

    @tf.function(jit_compile=True)
    def run(matrices):
        return tuple(SOLVERS[name].solve(linalg.DenseOperator(matrices), 1))

    pairs = linalg.Eigenpairs(*run(tf.constant(matrices)))
    np.testing.assert_allclose(pairs.eigenvalues, np.full((2, 1), 5.0), rtol=1e-6)
    assert pairs.converged.numpy().all()
