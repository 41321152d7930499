"""Golub–Kahan in blocks, solvers in stages, and the Gram matrix within a memory budget."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_fisher import linalg
from keras_fisher.linalg.golub_kahan import bidiagonalize, no_steps


def with_spectrum(spectrum: list[float], batch: int, seed: int = 0) -> np.ndarray:
    """(batch, n, n) symmetric matrices with these eigenvalues and random eigenvectors."""
    generator = np.random.default_rng(seed)
    size = len(spectrum)
    bases = np.linalg.qr(generator.standard_normal((batch, size, size)))[0]
    return np.einsum("bij,j,bkj->bik", bases, np.asarray(spectrum), bases)


@pytest.mark.parametrize("block_size", [1, 2, 3])
def test_the_factor_of_the_bidiagonalisation_is_r_between_the_bases(block_size):
    factors = np.random.default_rng(1).standard_normal((2, 9, 12))
    operator = linalg.DenseOperator(factors=factors)
    each = operator.restrict(tf.repeat([0, 1], block_size))
    krylov = no_steps(operator)
    for step in range(3):
        krylov = bidiagonalize(operator, each, tf.constant(step), krylov, 0, block_size)
    left, right, factor, _ = (tensor.numpy() for tensor in krylov)
    size = 3 * block_size
    for basis in (left, right):
        np.testing.assert_allclose(
            basis @ basis.transpose(0, 2, 1), np.tile(np.eye(size), (2, 1, 1)), atol=1e-12
        )
    np.testing.assert_allclose(factor, left @ factors @ right.transpose(0, 2, 1), atol=1e-12)
    # Rᵀ U = Vᵀ Bᵀ exactly: the last products are all in the space.
    np.testing.assert_allclose(left @ factors, factor @ right, atol=1e-12)
    # Block lower bidiagonal.
    above = [factor[:, i, j] for i in range(size) for j in range(size) if j // block_size > i // block_size]
    assert np.abs(above).max() < 1e-12


def test_a_block_that_fills_the_space_invents_nothing():
    # Two rows where there is room for one: the second is nothing, and not a row of rounding made long.
    pairs = linalg.GolubKahan().solve(linalg.DenseOperator(np.diag([3.0, 2.0, 0.0])[None]), 2)
    np.testing.assert_allclose(pairs.eigenvalues, [[3.0, 2.0]], rtol=1e-12)


@pytest.mark.parametrize("block_size", [1, 2, 4, 9, 10])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_block_size_finds_the_pairs_of_eigh(block_size, count):
    spectrum = [9.0, 5.0, 4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.0, 0.0]
    matrices = with_spectrum(spectrum, batch=4)
    solver = linalg.GolubKahan(tolerance=1e-10, max_dimension=10, block_size=block_size)
    pairs = solver.solve(linalg.DenseOperator(matrices), count)
    np.testing.assert_allclose(pairs.eigenvalues, np.tile(spectrum[:count], (4, 1)), rtol=1e-9)
    vectors = pairs.eigenvectors.numpy()
    images = np.einsum("bij,bkj->bki", matrices, vectors)
    residuals = np.linalg.norm(images - pairs.eigenvalues.numpy()[..., None] * vectors, axis=-1)
    assert residuals.max() < 1e-4
    gram = vectors @ vectors.transpose(0, 2, 1)
    np.testing.assert_allclose(gram, np.tile(np.eye(count), (4, 1, 1)), atol=1e-10)


def test_a_block_of_two_sees_a_double_eigenvalue_that_a_single_vector_does_not():
    matrices = with_spectrum([3.0, 3.0, *np.linspace(1.0, 0.1, 28)], batch=3)
    operator = linalg.DenseOperator(matrices)
    # In exact arithmetic never; rounding brings it out in the end.
    double = linalg.GolubKahan(tolerance=1e-14, block_size=2, max_dimension=10).solve(operator, 2)
    single = linalg.GolubKahan(tolerance=1e-14, block_size=1, max_dimension=10).solve(operator, 2)
    np.testing.assert_allclose(double.eigenvalues, 3.0, rtol=1e-4)
    assert single.eigenvalues.numpy()[:, 1].max() < 1.5


def test_the_residual_is_a_bound_on_that_of_the_pair_and_on_the_error_of_the_eigenvalue():
    spectrum = np.concatenate([[4.0, 2.5], np.geomspace(1.0, 1e-3, 38)])
    matrices = with_spectrum(spectrum.tolist(), batch=20)
    for tolerance in (0.5, 1e-2, 1e-4):
        pairs = linalg.GolubKahan(tolerance=tolerance).solve(linalg.DenseOperator(matrices), 2)
        values, vectors = pairs.eigenvalues.numpy(), pairs.eigenvectors.numpy()
        images = np.einsum("bij,bkj->bki", matrices, vectors)
        actual = np.linalg.norm(images - values[..., None] * vectors, axis=-1) / values[:, :1]
        # Of the true residual over λ₁, which θ₁ is a little below.
        assert (actual <= pairs.residual_norms.numpy() * 4.0 / values[:, :1] + 1e-14).all()
        nearest = np.abs(values[..., None] - spectrum).min(axis=-1)
        assert (nearest <= pairs.residual_norms.numpy() * 4.0 + 1e-13).all()
        assert actual.max() > 1e-4 * tolerance  # It did stop early: there is something to bound.


def test_matrices_of_a_block_do_not_change_by_their_company():
    easy = with_spectrum([9.0, 3.0, *[1e-6] * 28], batch=3, seed=1)
    hard = with_spectrum(np.linspace(2.0, 1.0, 30).tolist(), batch=3, seed=2)
    together = linalg.GolubKahan().solve(linalg.DenseOperator(np.concatenate([easy, hard])), 2)
    counts = together.num_products.numpy()
    for part, rows in ((easy, slice(0, 3)), (hard, slice(3, 6))):
        alone = linalg.GolubKahan().solve(linalg.DenseOperator(part), 2)
        np.testing.assert_allclose(alone.eigenvalues, together.eigenvalues.numpy()[rows], rtol=1e-10)
        np.testing.assert_array_equal(alone.num_products, counts[rows])
    # The easy half has left before the others are done.
    assert counts[:3].max() < counts[3:].min()


def test_a_block_costs_its_size_in_products_each_time():
    matrices = with_spectrum(np.linspace(2.0, 1.0, 30).tolist(), batch=2)
    for block_size in (2, 3):
        solver = linalg.GolubKahan(tolerance=1e-15, max_dimension=4 * block_size, block_size=block_size)
        pairs = solver.solve(linalg.DenseOperator(matrices), 2)
        assert not pairs.converged.numpy().any()
        # Five blocks: the space and one more, of which the first takes one product a vector.
        assert (pairs.num_products.numpy() == block_size * (2 * 5 - 1)).all()


def test_no_pair_is_believed_before_twice_as_many_vectors():
    # Rank two: the first two vectors have it all, and the error is zero from then on.
    matrices = with_spectrum([5.0, 2.0, *[0.0] * 28], batch=2)
    pairs = linalg.GolubKahan(block_size=2).solve(linalg.DenseOperator(matrices), 2)
    # least_dimension of a start of which nothing is known is nine: five blocks of two.
    assert (pairs.num_products.numpy() == 2 * (2 * 5 - 1)).all()


class KnownStart(linalg.DenseOperator):
    """An operator whose start is believed from the first step on, as that of a confident classifier is."""

    def least_dimension(self):
        return tf.ones([self.batch_size], tf.int32)


def test_a_space_that_is_too_short_is_not_believed_at_its_end():
    # Nothing is known of the start: nine vectors are wanted, however small the residual is.
    operator = linalg.DenseOperator(with_spectrum([9.0, *[1e-6] * 19], batch=2))
    short = linalg.GolubKahan(max_dimension=3).solve(operator, 1)
    np.testing.assert_allclose(short.eigenvalues, 9.0, rtol=1e-6)
    assert not short.converged.numpy().any()
    assert linalg.GolubKahan(max_dimension=8).solve(operator, 1).converged.numpy().all()


@dataclasses.dataclass(frozen=True)
class Counting(linalg.Gram):
    """The exact solver, which notes how many matrices it is given."""

    def solve(self, operator, num_eigenpairs, *, eigenvectors=True, seed=0):
        BATCHES.append(int(operator.batch_size))
        return super().solve(operator, num_eigenpairs, eigenvectors=eigenvectors, seed=seed)


BATCHES: list[int] = []


@pytest.mark.parametrize("eigenvectors", [True, False])
def test_staged_gives_the_second_solver_only_what_the_first_leaves(eigenvectors):
    BATCHES.clear()
    easy = with_spectrum([9.0, *[1e-6] * 9], batch=3, seed=1)
    hard = with_spectrum([1.0, 0.999, 0.998, *[0.5] * 7], batch=2, seed=2)
    matrices = np.concatenate([easy[:2], hard, easy[2:]])
    first = linalg.FixedGolubKahan(num_products=4, tolerance=1e-9)
    pairs = linalg.Staged(first, Counting()).solve(KnownStart(matrices), 1, eigenvectors=eigenvectors)
    assert BATCHES == [2]
    np.testing.assert_allclose(pairs.eigenvalues[:, 0], [9.0, 9.0, 1.0, 1.0, 9.0], rtol=1e-9)
    assert pairs.converged.numpy().all()
    counts = pairs.num_products.numpy()
    # Those that went on paid for both.
    np.testing.assert_array_equal(counts, [4, 4, 14, 14, 4])
    if eigenvectors:
        vectors = pairs.eigenvectors.numpy()[:, 0]
        images = np.einsum("bij,bj->bi", matrices, vectors)
        np.testing.assert_allclose(images, pairs.eigenvalues.numpy() * vectors, atol=1e-6)
    else:
        assert pairs.eigenvectors is None


def test_staged_does_not_call_the_second_solver_for_nothing():
    BATCHES.clear()
    matrices = with_spectrum([9.0, *[1e-6] * 9], batch=3)
    linalg.Staged(linalg.FixedGolubKahan(4), Counting()).solve(KnownStart(matrices), 1)
    assert BATCHES == []


def test_staged_refuses_an_operator_without_a_factor_and_asks_for_the_memory_of_both():
    solver = linalg.Staged(linalg.GolubKahan(block_size=3), linalg.Gram())
    with pytest.raises(TypeError, match="FactoredOperator"):
        solver.solve(tf.eye(3), 1)  # type: ignore[arg-type]
    assert solver.num_vectors(1, 500) == linalg.Gram().num_vectors(1, 500) > 500
    assert solver.num_copies(1, 500) == 3


@pytest.mark.parametrize("eigenvectors", [True, False])
def test_gram_gives_the_same_by_columns_and_by_pieces_of_float32_rows(eigenvectors, monkeypatch):
    factors = np.random.default_rng(3).standard_normal((2, 6, 40)).astype(np.float32).astype(np.float64)
    operator = linalg.DenseOperator(factors=factors)
    expected = linalg.Gram().solve(operator, 4, eigenvectors=eigenvectors)
    by_columns = linalg.Gram(max_bytes=4 * 6 * 40 - 1).solve(operator, 4, eigenvectors=eigenvectors)
    # The limit is inclusive.
    whole = linalg.Gram(max_bytes=4 * 6 * 40).solve(operator, 4, eigenvectors=eigenvectors)
    np.testing.assert_array_equal(whole.num_products, 6)
    np.testing.assert_array_equal(by_columns.num_products, 12 + (12 if eigenvectors else 0))

    class Single(linalg.DenseOperator):
        def rows(self):
            mixing, rows = super().rows()
            return mixing, tf.cast(rows, tf.float32)

    monkeypatch.setattr("keras_fisher.linalg.direct._PIECE_BYTES", 8 * 6 * 7)  # seven columns at once
    in_pieces = linalg.Gram().solve(Single(factors=factors), 4, eigenvectors=eigenvectors)
    for pairs in (by_columns, in_pieces):
        np.testing.assert_allclose(pairs.eigenvalues, expected.eigenvalues, rtol=1e-12)
        # In float32 so are the eigenvectors, and what is left of their equation.
        precision = 1e-12 if pairs is by_columns or not eigenvectors else 1e-6
        assert pairs.residual_norms.numpy().max() < precision
        if eigenvectors:
            overlap = np.einsum("bkd,bkd->bk", pairs.eigenvectors, expected.eigenvectors)
            np.testing.assert_allclose(np.abs(overlap), 1.0, rtol=precision)
        else:
            assert pairs.eigenvectors is None


def test_a_large_first_block_is_not_believed_before_its_residual_is_known():
    # Nine rows of forty: their best Ritz value is far below the eigenvalue.
    matrices = with_spectrum([10.0, 8.0, 6.0, *[1.0] * 37], batch=5)
    pairs = linalg.GolubKahan(block_size=9).solve(linalg.DenseOperator(matrices), 1)
    np.testing.assert_allclose(pairs.eigenvalues, 10.0, rtol=1e-3)


def test_a_matrix_with_nan_has_nan_and_the_others_their_answer():
    matrices = with_spectrum([5.0, 1.0, 0.5, *[0.1] * 7], batch=3)
    factors = np.linalg.cholesky(matrices + 1e-12 * np.eye(10)).transpose(0, 2, 1)
    factors[1, 2, 3] = np.nan
    for block_size in (1, 2):
        pairs = linalg.GolubKahan(block_size=block_size).solve(linalg.DenseOperator(factors=factors), 2)
        np.testing.assert_allclose(pairs.eigenvalues.numpy()[[0, 2]], [[5.0, 1.0]] * 2, rtol=1e-3)
        assert np.isnan(pairs.eigenvalues.numpy()[1]).all()
        np.testing.assert_array_equal(pairs.converged, [True, False, True])


def test_staged_is_made_of_solvers():
    with pytest.raises(TypeError, match="`second`"):
        linalg.Staged(linalg.GolubKahan(), "exact")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: linalg.GolubKahan(block_size=0), ValueError),
        (lambda: linalg.GolubKahan(block_size=2.0), TypeError),
        (lambda: linalg.Gram(max_bytes=0), ValueError),
    ],
)
def test_bad_settings_are_refused(make, error):
    with pytest.raises(error):
        make()
