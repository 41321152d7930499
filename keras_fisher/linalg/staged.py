"""One eigensolver after another."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from keras_fisher.checks import message
from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.eigensolver import Eigensolver
from keras_fisher.linalg.operator import FactoredOperator, SymmetricOperator
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class Staged(Eigensolver):
    """A quick solver for all matrices, and a sure one for those on which it has not converged.

    An iterative solver is quick where the top eigenvalue stands apart from the next, and slow or even wrong
    where it does not: which of the two a matrix is shows in the first steps.

    Args:
        first: tries all matrices.
        second: takes those that `first` leaves unconverged.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, GolubKahan, Gram, Staged
        >>> matrices = tf.linalg.diag([[3.0, 0.1, 0.0], [3.0, 2.99, 2.98]])
        >>> pairs = Staged(GolubKahan(max_dimension=1), Gram()).solve(DenseOperator(matrices), 1)
        >>> [round(float(value), 4) for value in pairs.eigenvalues[:, 0]]
        [3.0, 3.0]
    """

    first: Eigensolver
    second: Eigensolver

    has_static_shapes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            solver = getattr(self, name)
            if not isinstance(solver, Eigensolver):
                raise TypeError(message(name, "be an object of kf.solvers", repr(solver)))

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        return max(solver.num_vectors(num_eigenpairs, rank_bound) for solver in (self.first, self.second))

    def num_copies(self, num_eigenpairs: int, rank_bound: int) -> int:
        return max(solver.num_copies(num_eigenpairs, rank_bound) for solver in (self.first, self.second))

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        return self.first.default_num_eigenpairs(rank_bound)

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        return min(solver.max_num_eigenpairs(rank_bound) for solver in (self.first, self.second))

    def solve(
        self,
        operator: SymmetricOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        if not isinstance(operator, FactoredOperator):
            raise TypeError(
                "`operator` must be a FactoredOperator: others cannot be cut down to a few matrices."
            )
        pairs = self.first.solve(operator, num_eigenpairs, eigenvectors=eigenvectors, seed=seed)
        if not eigenvectors:
            # In their place, so that all fields are tensors: TensorFlow does not scatter rows of nothing.
            nothing = tf.zeros(tf.stack([operator.batch_size, 1, 1]), tf.float64)
            pairs = pairs._replace(eigenvectors=nothing)
        unsolved = tf.where(~pairs.converged)[:, 0]

        def solve_rest() -> Eigenpairs:
            rest = operator.restrict(tf.cast(unsolved, tf.int32))
            part = self.second.solve(rest, num_eigenpairs, eigenvectors=eigenvectors, seed=seed)
            if not eigenvectors:
                part = part._replace(eigenvectors=tf.gather(pairs.eigenvectors, unsolved))
            part = part._replace(num_products=part.num_products + tf.gather(pairs.num_products, unsolved))
            return Eigenpairs(
                *(
                    tf.tensor_scatter_nd_update(whole, unsolved[:, None], piece)
                    for whole, piece in zip(pairs, part, strict=True)
                )
            )

        # No work at all where nothing is left: an empty batch still goes through a net.
        pairs = tf.cond(tf.size(unsolved) > 0, solve_rest, lambda: pairs)
        return pairs if eigenvectors else pairs._replace(eigenvectors=None)
