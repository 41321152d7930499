"""Golub–Kahan bidiagonalisation with a fixed number of steps."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.checks import check_integer, check_real
from keras_fisher.linalg.bidiagonalization import bidiagonalize, no_steps
from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.eigensolver import Eigensolver, all_converged, relative_residuals
from keras_fisher.linalg.gram import leading_eigenpairs, orthonormal_rows
from keras_fisher.linalg.operator import FactoredOperator, SymmetricOperator, norm


@dataclasses.dataclass(frozen=True)
class FixedGolubKahan(Eigensolver):
    """The top eigenpair of A = RᵀR from a few products, the same number for every matrix: for training.

    `GolubKahan` lets each matrix stop on its own, which needs tensors of unknown size. Here all sizes are
    known before the run, so that XLA compiles it and a training step always costs the same. From the top
    class two steps are mostly enough: three passes, of which the first is the gradient of the loss.

    Args:
        num_steps: dimension of the Krylov space, at most the rank and one is used; m steps cost 2m − 1
            products.
        tolerance: converged is where ‖A v − λ v‖ ≤ tolerance · λ. That residual costs two products more,
            which a graph leaves out where nobody reads it.

    Source: Golub and Kahan 1965. Rayleigh–Ritz in the space of R Rᵀ, which has a use for the last product.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, FixedGolubKahan
        >>> pairs = FixedGolubKahan(num_steps=3).solve(DenseOperator(tf.linalg.diag([[3.0, 2.0, 0.0]])), 1)
        >>> round(float(pairs.eigenvalues[0, 0]), 4)
        3.0
    """

    num_steps: int = 2
    tolerance: float = 1e-2

    def __post_init__(self) -> None:
        check_integer("num_steps", self.num_steps, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        return 1

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        return 1

    def solve(
        self, operator: SymmetricOperator, num_eigenpairs: int, *, eigenvectors: bool = True, seed: int = 0
    ) -> Eigenpairs:
        if not isinstance(operator, FactoredOperator):
            raise TypeError(
                "`operator` must be a FactoredOperator: Golub–Kahan needs R. Use Lanczos instead."
            )
        operator.prepare()
        krylov = no_steps(operator)
        # One more than the rank: the start may have a part that R Rᵀ sends to zero.
        num_steps = min(self.num_steps, operator.rank_bound + 1, operator.factor_dim)
        for step in range(num_steps):
            krylov = bidiagonalize(operator, step, krylov, seed)
        # R Rᵀ U = U B Bᵀ + …, B lower bidiagonal: all of it is known after the last product Rᵀ u.
        lower = krylov.factor
        eigenvalues, left = leading_eigenpairs(tf.matmul(lower, lower, transpose_b=True), 1)
        left = tf.where(left[:, :, :1] < 0, -left, left)
        # v = Rᵀ U s / √θ = V Bᵀ s / √θ; a unit vector also where the matrix is zero.
        vectors = orthonormal_rows(tf.matmul(tf.matmul(left, lower), krylov.right), seed)
        vector = vectors[:, 0]
        residuals = norm(operator.matvec(vector) - eigenvalues * vector)[:, None]
        residuals += operator.precision * eigenvalues
        return Eigenpairs(
            eigenvalues,
            vectors if eigenvectors else None,
            relative_residuals(residuals, eigenvalues),
            all_converged(residuals, eigenvalues, self.tolerance),
            tf.fill([operator.batch_size], 2 * num_steps - 1),
            operator.log_scale,
        )
