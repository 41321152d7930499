"""Power iteration."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.checks import check_integer, check_real
from keras_fisher.linalg.eigensolver import Eigenpairs, Eigensolver, all_converged, relative_residuals
from keras_fisher.linalg.operators import SymmetricOperator
from keras_fisher.linalg.vectors import norm, normalize, random_unit_vector
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class PowerIteration(Eigensolver):
    """The top eigenpair by v ← A v / ‖A v‖, stopped for each matrix on its residual.

    A start with nearly nothing of the top eigenvector settles on the second one, with a small residual. Two
    starts rarely do: the larger value is returned, as converged only if both agree.

    Args:
        max_iterations: products with A at most, from each start.
        tolerance: stop where ‖A v − λ v‖ ≤ tolerance · λ, which bounds the relative error of λ.
        num_starts: random starts; 1 is the paper's.

    Source: Zhao et al. 2019, Eq. (7). The paper stops when "η converged"; here the residual decides.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, PowerIteration
        >>> pairs = PowerIteration().solve(DenseOperator(tf.constant([[[2.0, 0.0], [0.0, 1.0]]])), 1)
        >>> round(float(pairs.eigenvalues[0, 0]), 4), bool(pairs.converged[0])
        (2.0, True)
    """

    max_iterations: int = 200
    tolerance: float = 1e-4
    num_starts: int = 2

    def __post_init__(self) -> None:
        check_integer("max_iterations", self.max_iterations, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)
        check_integer("num_starts", self.num_starts, 1)

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        return 1

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        return 1

    def solve(
        self,
        operator: SymmetricOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        runs = [self._iterate(operator, seed, start) for start in range(self.num_starts)]
        vector, eigenvalue, residual, converged, count = runs[0]
        for other in runs[1:]:
            agrees = tf.abs(other[1] - eigenvalue) <= 2 * self.tolerance * tf.maximum(eigenvalue, other[1])
            is_larger = other[1] > eigenvalue
            vector = tf.where(is_larger[:, None], other[0], vector)
            eigenvalue = tf.where(is_larger, other[1], eigenvalue)
            residual = tf.where(is_larger, other[2], residual)
            converged &= other[3] & agrees
            count += other[4]
        eigenvalues = tf.maximum(eigenvalue, 0.0)[:, None]
        return Eigenpairs(
            eigenvalues,
            vector[:, None, :] if eigenvectors else None,
            None,
            relative_residuals(residual[:, None], eigenvalues),
            converged,
            count * operator.products_per_matvec,
            operator.log_scale,
        )

    def _iterate(self, operator: SymmetricOperator, seed: Tensor | int, start_index: int) -> list[Tensor]:
        """Returns (vector, eigenvalue, residual, converged, products with A) from one start."""
        batch_size = operator.batch_size
        zeros = tf.zeros([batch_size], tf.float64)

        def unfinished(iteration, vector, eigenvalue, residual, done):
            return tf.logical_and(iteration < self.max_iterations, tf.logical_not(tf.reduce_all(done)))

        def step(iteration, vector, eigenvalue, residual, done):
            image, quotient = operator.matvec(vector)  # v → A v
            # The rounding of a product is part of the error: no image that is all rounding converges.
            error = norm(image - quotient[:, None] * vector) + operator.precision * quotient
            eigenvalue = tf.where(done, eigenvalue, quotient)
            residual = tf.where(done, residual, error)
            # The pair (v, quotient) just measured is the one that is kept, so that the residual is its own.
            # Of a zero matrix there is nothing to iterate.
            now_done = done | (residual <= self.tolerance * eigenvalue)
            last = tf.equal(iteration, self.max_iterations - 1)
            vector = tf.where((now_done | last)[:, None], vector, normalize(image)[0])
            return iteration + 1, vector, eigenvalue, residual, now_done

        start = random_unit_vector(operator.dim, batch_size, seed, start_index)
        iterations, *result = tf.while_loop(
            unfinished,
            step,
            (0, start, zeros, zeros, tf.zeros([batch_size], tf.bool)),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None, operator.dim]),
                *(tf.TensorShape([None]) for _ in range(3)),
            ),
        )
        # The whole batch is multiplied until its last matrix is done.
        vector, eigenvalue, residual, _ = result
        converged = all_converged(residual[:, None], eigenvalue[:, None], self.tolerance)
        return [vector, eigenvalue, residual, converged, tf.fill([batch_size], iterations)]
