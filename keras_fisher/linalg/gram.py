"""The exact spectrum from the small Gram matrix."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from keras_fisher.checks import check_integer
from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.eigensolver import Eigensolver, random_unit_vector, relative_residuals
from keras_fisher.linalg.operator import (
    FactoredOperator,
    SymmetricOperator,
    divide_or_zero,
    norm,
    normalize,
    orthogonalize,
)
from keras_fisher.typing import Tensor

#: Bytes of a float64 copy of rows that are held in float32, at once.
_PIECE_BYTES = 2**27


@dataclasses.dataclass(frozen=True)
class Gram(Eigensolver):
    """All nonzero eigenpairs of A = RᵀR, exactly, from the eigen-decomposition of R Rᵀ.

    R = S W costs the q products that make W (nine backward passes for ten classes). The small algebra is
    float64, so that eigenvalues far below λ₁ keep their relative accuracy.

    Where W would be too large, R Rᵀ is made a column at a time and W never held: that takes twice the
    products, and eigenvalues are exact to the precision of a product times λ₁.

    Args:
        max_bytes: the memory that W may take for one matrix.
    """

    max_bytes: int = 2**30

    def __post_init__(self) -> None:
        check_integer("max_bytes", self.max_bytes, 1)

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        return rank_bound + 2 * num_eigenpairs

    def solve(
        self, operator: SymmetricOperator, num_eigenpairs: int, *, eigenvectors: bool = True, seed: int = 0
    ) -> Eigenpairs:
        if not isinstance(operator, FactoredOperator):
            raise TypeError("`operator` must be a FactoredOperator, since R Rᵀ needs R. Use Lanczos instead.")
        operator.prepare()
        # Rows that are many come in float32, four bytes a number.
        if 4 * operator.rank_bound * operator.dim > self.max_bytes:
            return _by_columns(operator, num_eigenpairs, eigenvectors, seed)
        mixing, rows = operator.rows()  # R = S W
        pieces = _pieces(rows)
        small = _sum_of(tf.matmul(piece, piece, transpose_b=True) for piece in pieces())  # W Wᵀ
        gram = tf.matmul(mixing, tf.matmul(small, mixing, transpose_b=True))  # S W Wᵀ Sᵀ = R Rᵀ
        eigenvalues, left = leading_eigenpairs(gram, num_eigenpairs)
        vectors = None
        if eigenvectors:

            def times_factor(coefficients: Tensor) -> Tensor:  # Rᵀu, of rows u
                mixed = tf.matmul(coefficients, mixing)
                return tf.concat([tf.matmul(mixed, piece) for piece in pieces()], axis=2)

            # v = Rᵀ u / √λ, made orthonormal again where λ is too small for that to come out right.
            vectors = orthonormal_rows(times_factor(left), seed)
            sizes = [piece.shape[2] for piece in pieces()]
            parts = zip(tf.split(vectors, sizes, axis=2), pieces(), strict=True)
            images = _sum_of(tf.matmul(part, piece, transpose_b=True) for part, piece in parts)
            images = times_factor(tf.matmul(images, mixing, transpose_b=True))  # R v, then RᵀR v
            residuals = norm(images - eigenvalues[..., None] * vectors)
        else:
            residuals = norm(tf.matmul(left, gram) - eigenvalues[..., None] * left)
        return _exact(operator, eigenvalues, vectors, residuals, rows.shape[1])


def _by_columns(
    operator: FactoredOperator, num_eigenpairs: int, eigenvectors: bool, seed: Tensor | int
) -> Eigenpairs:
    """Returns the eigenpairs from products alone, R Rᵀ e_j for each j."""
    size = operator.factor_dim
    shape = tf.stack([size, operator.batch_size, size])
    units = tf.broadcast_to(tf.eye(size, dtype=tf.float64)[:, None], shape)
    # One after the other: a product is what fills the memory here.
    columns = tf.map_fn(operator.outer().matvec, units, parallel_iterations=1)
    gram = tf.transpose(tf.ensure_shape(columns, [size, None, size]), [1, 0, 2])
    gram = 0.5 * (gram + tf.linalg.matrix_transpose(gram))
    eigenvalues, left = leading_eigenpairs(gram, num_eigenpairs)
    num_products = 2 * size
    vectors = None
    residuals = norm(tf.matmul(left, gram) - eigenvalues[..., None] * left)
    if eigenvectors:
        lifted = [operator.apply_transpose(row) for row in tf.unstack(left, axis=1)]
        vectors = orthonormal_rows(tf.stack(lifted, axis=1), seed)
        images = tf.stack([operator.matvec(row) for row in tf.unstack(vectors, axis=1)], axis=1)
        residuals = norm(images - eigenvalues[..., None] * vectors)
        num_products += 3 * num_eigenpairs
    return _exact(operator, eigenvalues, vectors, residuals, num_products)


def _exact(
    operator: FactoredOperator,
    eigenvalues: Tensor,
    vectors: Tensor | None,
    residuals: Tensor,
    num_products: int,
) -> Eigenpairs:
    return Eigenpairs(
        eigenvalues,
        vectors,
        relative_residuals(residuals, eigenvalues),
        tf.reduce_all(tf.math.is_finite(eigenvalues), axis=-1),  # A direct method.
        tf.fill([operator.batch_size], num_products),
        operator.log_scale,
    )


def _pieces(rows: Tensor) -> Callable[[], Iterator[Tensor]]:
    """Returns what yields float64 copies of (batch, q, dim) rows, a range of columns at a time."""
    width = max(1, _PIECE_BYTES // (8 * rows.shape[1])) if rows.dtype != tf.float64 else rows.shape[2]

    def pieces() -> Iterator[Tensor]:
        for start in range(0, rows.shape[2], width):
            yield tf.cast(rows[:, :, start : start + width], tf.float64)

    return pieces


def _sum_of(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(tf.add, terms)


def leading_eigenpairs(matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the `count` largest eigenvalues, descending and ≥ 0, and their eigenvectors as rows."""
    # Scaled to trace one, so that nothing under- or overflows inside the decomposition.
    trace = tf.linalg.trace(matrices)[:, None, None]
    # The decomposition raises an error for NaN, which is what weights that diverge in training lead to.
    is_finite = tf.reduce_all(tf.math.is_finite(matrices), axis=[1, 2], keepdims=True)
    scaled = tf.where(is_finite, divide_or_zero(matrices, trace), tf.zeros_like(matrices))
    eigenvalues, columns = tf.linalg.eigh(scaled)
    eigenvalues = tf.maximum(eigenvalues[:, ::-1][:, :count], 0.0) * trace[..., 0]
    nan = tf.constant(float("nan"), matrices.dtype)
    eigenvalues = tf.where(is_finite[..., 0], eigenvalues, nan)
    return eigenvalues, tf.linalg.matrix_transpose(columns)[:, ::-1][:, :count]


def orthonormal_rows(vectors: Tensor, seed: Tensor | int) -> Tensor:
    """Returns (batch, k, dim) orthonormal rows by Gram–Schmidt from the first row on.

    A row of the null space (zero, or dependent on those above) becomes a random direction orthogonal to them.
    """
    basis = vectors[:, :0]
    for index in range(vectors.shape[1]):
        row, length = normalize(vectors[:, index])
        row = orthogonalize(row, basis)
        spare = random_unit_vector(vectors.shape[2], tf.shape(vectors)[0], seed, index + 1)
        spare = orthogonalize(spare, basis)
        is_lost = (length == 0) | (norm(row) < 1e-8)
        row = tf.where(is_lost[:, None], spare, row)
        basis = tf.concat([basis, normalize(row)[0][:, None]], axis=1)
    return basis
