"""The Lanczos algorithm."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from keras_fisher.checks import check_integer, check_real
from keras_fisher.linalg.eigensolver import Eigenpairs, Eigensolver, all_converged, relative_residuals
from keras_fisher.linalg.operators import FactoredOperator, SymmetricOperator
from keras_fisher.linalg.vectors import (
    divide_or_zero,
    dot,
    leading_eigenpairs,
    norm,
    normalize,
    orthogonalize,
    orthonormal_rows,
    random_unit_vector,
)
from keras_fisher.typing import Tensor

#: Steps before one eigenpair is believed: ten classes fill the space with them.
_LEAST_DIMENSION = 10


class _State(NamedTuple):
    """A Q = Q T + β q eᵀ after `size` steps. The Ritz pairs of a matrix stay as when it converged."""

    size: Tensor  # scalar int32
    basis: Tensor  # (batch, K + 1, dim), rows q₀ … q_size, then zeros
    diagonal: Tensor  # (batch, K) α
    off_diagonal: Tensor  # (batch, K) β; the entry j couples q_j and q_{j+1}
    ritz_values: Tensor  # (batch, k)
    ritz_vectors: Tensor  # (batch, k, K) coefficients in the basis
    residuals: Tensor  # (batch, k)
    done: Tensor  # (batch,) bool
    rounding: Tensor  # (batch,) the largest |qᵀ(A q) − (A q's own quotient)| so far: what products are off by


@dataclasses.dataclass(frozen=True)
class Lanczos(Eigensolver):
    """The top k eigenpairs from a Krylov space, fully reorthogonalised (twice at every step).

    An invariant subspace is noticed (β below rounding) and left by a fresh start vector orthogonal to it, so
    that repeated eigenvalues come out with their multiplicity. A factored operator A = RᵀR is worked on as
    R Rᵀ where that is smaller: ten numbers a vector in place of ten thousand pixels.

    One pair (k = 1) is believed when its residual is small, after ten steps; several when the space is full,
    since a repeated eigenvalue could hide otherwise.

    Args:
        max_dimension: of the Krylov space; None is the rank and one, at most 2k + 40.
        tolerance: stop where each ‖A v − λ v‖ ≤ tolerance · λ.

    Source: Zhao et al. 2019, section 3.2; Golub and Van Loan, Matrix Computations, chapter 10.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, Lanczos
        >>> pairs = Lanczos().solve(DenseOperator(2.0 * tf.eye(3, batch_shape=[1])), 3)
        >>> [round(float(value), 6) for value in pairs.eigenvalues[0]]
        [2.0, 2.0, 2.0]
    """

    max_dimension: int | None = None
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if self.max_dimension is not None:
            check_integer("max_dimension", self.max_dimension, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)

    def solve(
        self,
        operator: SymmetricOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        if isinstance(operator, FactoredOperator) and operator.factor_dim < operator.dim:
            return self._solve_outer(operator, num_eigenpairs, eigenvectors, seed)
        state = self._iterate(operator, num_eigenpairs, seed)
        vectors = tf.matmul(state.ritz_vectors, state.basis[:, :-1]) if eigenvectors else None
        return Eigenpairs(
            state.ritz_values,
            vectors,
            None,
            relative_residuals(state.residuals, state.ritz_values),
            all_converged(state.residuals, state.ritz_values, self.tolerance),
            # The whole batch is multiplied until its last matrix is done.
            tf.fill([operator.batch_size], state.size * operator.products_per_matvec),
            operator.log_scale,
        )

    def _solve_outer(
        self, operator: FactoredOperator, num_eigenpairs: int, eigenvectors: bool, seed: Tensor | int
    ) -> Eigenpairs:
        """Solves for R Rᵀ u = λ u and lifts v = Rᵀ u / √λ, one product a vector."""
        state = self._iterate(operator.outer(), num_eigenpairs, seed)
        values, residuals = state.ritz_values, state.residuals
        # ‖A v − λ v‖ = ‖Rᵀ(R Rᵀ u − λ u)‖ / √λ ≤ √(λ₁/λ) times the residual in class space.
        residuals = residuals * tf.sqrt(divide_or_zero(values[:, :1], values))
        count = state.size * operator.products_per_matvec
        left = tf.matmul(state.ritz_vectors, state.basis[:, :-1])
        vectors = None
        if eigenvectors:
            lifted = [operator.pull_back(left[:, index])[0] for index in range(num_eigenpairs)]
            vectors = orthonormal_rows(tf.stack(lifted, axis=1), seed)
            count += num_eigenpairs
        return Eigenpairs(
            values,
            vectors,
            left,
            relative_residuals(residuals, values),
            all_converged(residuals, values, self.tolerance),
            tf.fill([operator.batch_size], count),
            operator.log_scale,
        )

    def _dimension(self, operator: SymmetricOperator, num_eigenpairs: int) -> int:
        """Returns K: the rank plus one null direction of the start vector, if that is few enough."""
        dimension = self.max_dimension or 2 * num_eigenpairs + 40
        return max(num_eigenpairs, min(dimension, operator.rank_bound + 1, operator.dim))

    def _iterate(self, operator: SymmetricOperator, num_eigenpairs: int, seed: Tensor | int) -> _State:
        dimension, dim = self._dimension(operator, num_eigenpairs), operator.dim
        batch = operator.batch_size

        def unfinished(*state):
            state = _State(*state)
            return (state.size < dimension) & ~tf.reduce_all(state.done)

        def step(*state):
            state = _State(*state)
            here = tf.one_hot(state.size, dimension, dtype=tf.float64)
            vector = state.basis[:, state.size]
            image, alpha = operator.matvec(vector)  # q → A q
            rounding = tf.maximum(state.rounding, tf.abs(dot(vector, image) - alpha))
            remainder = orthogonalize(image[:, None], state.basis)[:, 0]
            beta = norm(remainder)
            diagonal = state.diagonal + alpha[:, None] * here
            # Breakdown: what is left is rounding, the space is invariant. Restart orthogonal to it, β = 0.
            scale = tf.reduce_max(diagonal, axis=-1)
            broken = beta <= operator.precision * scale
            fresh = random_unit_vector(dim, batch, seed, state.size + 1)
            fresh = orthogonalize(fresh[:, None], state.basis)[:, 0]
            remainder = tf.where(broken[:, None], fresh, remainder)
            beta = tf.where(broken, tf.zeros_like(beta), beta)
            off_diagonal = state.off_diagonal + beta[:, None] * here
            # T couples the vectors within the space only, which the new β is not.
            matrix = _tridiagonal(diagonal, state.off_diagonal)
            values, vectors = leading_eigenpairs(matrix, num_eigenpairs)
            # ‖A y − θ y‖ = β |s_last|, but never less than the rounding of the products.
            last = tf.reduce_sum(vectors * here, axis=-1)
            floor = operator.precision * values[:, :1] + rounding[:, None]
            residuals = tf.sqrt(tf.square(beta[:, None] * last) + tf.square(floor))
            # A small residual says that there is an eigenvalue, not that it is the largest: the random start
            # may have nearly nothing of that. Of several pairs one may hide even if it has (a repeated
            # eigenvalue shows once): they are believed at the end only.
            believed_from = min(dimension, _LEAST_DIMENSION) if num_eigenpairs == 1 else dimension
            believable = state.size + 1 >= believed_from
            keep = state.done[:, None]
            values = tf.where(keep, state.ritz_values, values)
            residuals = tf.where(keep, state.residuals, residuals)
            following = tf.one_hot(state.size + 1, dimension + 1, dtype=tf.float64)
            return _State(
                state.size + 1,
                state.basis + normalize(remainder)[0][:, None, :] * following[:, None],
                diagonal,
                off_diagonal,
                values,
                tf.where(keep[..., None], state.ritz_vectors, vectors),
                residuals,
                state.done | (believable & all_converged(residuals, values, self.tolerance)),
                rounding,
            )

        first = random_unit_vector(dim, batch, seed)[:, None, :]
        rest = tf.zeros(tf.stack([batch, dimension, dim]), tf.float64)
        zeros = tf.zeros(tf.stack([batch, dimension]), tf.float64)
        start = _State(
            tf.constant(0),
            tf.concat([first, rest], axis=1),
            zeros,
            zeros,
            zeros[:, :num_eigenpairs],
            tf.zeros(tf.stack([batch, num_eigenpairs, dimension]), tf.float64),
            zeros[:, :num_eigenpairs],
            tf.zeros([batch], tf.bool),
            zeros[:, 0],
        )
        shapes = _State(
            tf.TensorShape([]),
            tf.TensorShape([None, dimension + 1, dim]),
            tf.TensorShape([None, dimension]),
            tf.TensorShape([None, dimension]),
            tf.TensorShape([None, num_eigenpairs]),
            tf.TensorShape([None, num_eigenpairs, dimension]),
            tf.TensorShape([None, num_eigenpairs]),
            tf.TensorShape([None]),
            tf.TensorShape([None]),
        )
        return _State(*tf.while_loop(unfinished, step, start, shape_invariants=shapes))


def _tridiagonal(diagonal: Tensor, off_diagonal: Tensor) -> Tensor:
    """Returns (batch, K, K). Rows not reached yet are zero and add zero eigenvalues, below all others."""
    inner = off_diagonal[:, :-1]
    return tf.linalg.diag(diagonal) + tf.linalg.diag(inner, k=1) + tf.linalg.diag(inner, k=-1)
