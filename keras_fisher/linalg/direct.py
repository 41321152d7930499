"""Direct methods: the small Gram matrix, and the explicit matrix."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import tensorflow as tf

from keras_fisher.checks import check_integer
from keras_fisher.linalg.eigensolver import Eigenpairs, Eigensolver, check_factored, relative_residuals
from keras_fisher.linalg.operators import FactoredOperator, SymmetricOperator
from keras_fisher.linalg.vectors import divide_or_zero, leading_eigenpairs, norm, orthonormal_rows
from keras_fisher.typing import Tensor

#: Bytes of a float64 copy of rows that are held in float32, at once.
_PIECE_BYTES = 2**27
#: Rounding of a product from which on no answer is called exact: half precision has more.
_TOLERANCE = 1e-3


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

    needs_factor: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_integer("max_bytes", self.max_bytes, 1)

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        return rank_bound + 2 * num_eigenpairs

    def solve(
        self,
        operator: FactoredOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        check_factored(self, operator)
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
            # v = Rᵀ u / √λ, made orthonormal again where λ is too small for that to come out right.
            lifted = divide_or_zero(tf.matmul(left, mixing), tf.sqrt(eigenvalues)[..., None])
            vectors = orthonormal_rows(tf.matmul(tf.cast(lifted, rows.dtype), rows), seed)
            # RᵀR v − λ v = Wᵀ d, all but d in small matrices; over λ₁, so that nothing underflows.
            top = eigenvalues[:, :1, None]
            images = tf.matmul(tf.matmul(tf.matmul(lifted, small), mixing, transpose_b=True), mixing)
            shares = divide_or_zero(eigenvalues[..., None], top)
            rest = divide_or_zero(images, top) - shares * lifted
            squares = tf.reduce_sum(tf.matmul(rest, small) * rest, axis=-1)
            residuals = tf.sqrt(tf.maximum(squares, 0.0)) * top[..., 0]
        else:
            residuals = norm(tf.matmul(left, gram) - eigenvalues[..., None] * left)
        return _exact(operator, eigenvalues, vectors, left, residuals, rows.shape[1])


def _by_columns(
    operator: FactoredOperator, num_eigenpairs: int, eigenvectors: bool, seed: Tensor | int
) -> Eigenpairs:
    """Returns the eigenpairs from products alone, R Rᵀ e_j for each j."""
    size = operator.factor_dim
    outer = operator.outer()
    shape = tf.stack([size, operator.batch_size, size])
    units = tf.broadcast_to(tf.eye(size, dtype=tf.float64)[:, None], shape)
    # One after the other: a product is what fills the memory here.
    columns = tf.map_fn(lambda unit: outer.matvec(unit).image, units, parallel_iterations=1)
    gram = tf.transpose(tf.ensure_shape(columns, [size, None, size]), [1, 0, 2])
    gram = 0.5 * (gram + tf.linalg.matrix_transpose(gram))
    eigenvalues, left = leading_eigenpairs(gram, num_eigenpairs)
    num_products = 2 * size
    vectors = None
    residuals = norm(tf.matmul(left, gram) - eigenvalues[..., None] * left)
    if eigenvectors:
        lifted = [operator.pull_back(row)[0] for row in tf.unstack(left, axis=1)]
        vectors = orthonormal_rows(tf.stack(lifted, axis=1), seed)
        images = tf.stack([operator.matvec(row).image for row in tf.unstack(vectors, axis=1)], axis=1)
        residuals = norm(images - eigenvalues[..., None] * tf.cast(vectors, tf.float64))
        num_products += 3 * num_eigenpairs
    return _exact(operator, eigenvalues, vectors, left, residuals, num_products)


def _exact(
    operator: SymmetricOperator,
    eigenvalues: Tensor,
    vectors: Tensor | None,
    left: Tensor | None,
    residuals: Tensor,
    num_products: int,
) -> Eigenpairs:
    return Eigenpairs(
        eigenvalues,
        vectors,
        left,
        relative_residuals(residuals, eigenvalues),
        # A direct method is as exact as its rows.
        tf.reduce_all(tf.math.is_finite(eigenvalues), axis=-1) & (operator.precision <= _TOLERANCE),
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


@dataclasses.dataclass(frozen=True)
class Dense(Eigensolver):
    """All eigenpairs of the explicit (dim, dim) matrix, float64. An oracle, not a tool: O(dim³) a matrix.

    Args:
        max_dim: refuse larger matrices, whose decomposition would take minutes and gigabytes.

    Source: Zhao et al. 2019, Table 1, "Eigen-decomposition".
    """

    max_dim: int = 4096

    def __post_init__(self) -> None:
        check_integer("max_dim", self.max_dim, 1)

    def solve(
        self,
        operator: SymmetricOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        if operator.dim > self.max_dim:
            raise ValueError(
                f'`solver="dense"` takes at most max_dim={self.max_dim} pixels an image, got {operator.dim}. '
                'Use solver="exact", which gives the same answer from a small matrix, or raise max_dim.'
            )
        factor = None
        if isinstance(operator, FactoredOperator):
            mixing, rows = operator.rows()
            factor = tf.matmul(mixing, tf.cast(rows, mixing.dtype))
            matrix = tf.matmul(factor, factor, transpose_a=True)
            num_products = rows.shape[1]
        else:
            units = [
                tf.one_hot(tf.fill([operator.batch_size], i), operator.dim, dtype=tf.float64)
                for i in range(operator.dim)
            ]
            matrix = tf.stack([operator.matvec(unit).image for unit in units], axis=1)
            num_products = operator.dim * operator.products_per_matvec
        eigenvalues, vectors = leading_eigenpairs(matrix, num_eigenpairs)
        residuals = norm(tf.matmul(vectors, matrix) - eigenvalues[..., None] * vectors)
        left = None
        if factor is not None:
            left = tf.math.l2_normalize(tf.matmul(vectors, factor, transpose_b=True), axis=-1, epsilon=0.0)
            left = tf.where(tf.math.is_finite(left), left, tf.zeros_like(left))
        return _exact(operator, eigenvalues, vectors if eigenvectors else None, left, residuals, num_products)
