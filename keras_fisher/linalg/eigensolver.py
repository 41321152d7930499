"""The interface of every eigensolver."""

from __future__ import annotations

import abc
from typing import ClassVar

import tensorflow as tf

from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.operator import SymmetricOperator, divide_or_zero
from keras_fisher.typing import Tensor


class Eigensolver(abc.ABC):
    """Finds the leading eigenpairs of a batch of operators. Settings in `__init__`, data in `solve`.

    Solvers are frozen dataclasses: they compare and hash by their settings, which is how compiled
    programs are found again.
    """

    #: Whether all sizes but that of the batch are known before a run, so that XLA compiles it.
    has_static_shapes: ClassVar[bool] = True

    @abc.abstractmethod
    def solve(
        self, operator: SymmetricOperator, num_eigenpairs: int, *, eigenvectors: bool = True, seed: int = 0
    ) -> Eigenpairs:
        """Returns the `num_eigenpairs` leading eigenpairs of each matrix.

        Runs inside a `tf.function`; the batch size may be unknown.

        Args:
            operator: (batch, dim, dim) matrices, symmetric positive semi-definite.
            num_eigenpairs: k, at most `operator.rank_bound`.
            eigenvectors: whether to form them; some solvers save work without.
            seed: of the start vector, one for the whole batch, so that an answer does not depend on the
                company that an image keeps.
        """

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        """Returns about how many float64 vectors of `dim` numbers are held at once for each matrix."""
        return 2 * num_eigenpairs + 4

    def num_copies(self, num_eigenpairs: int, rank_bound: int) -> int:
        """Returns how many vectors each matrix is multiplied by at once."""
        return 1

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        """Returns how many pairs are found when the caller names no number."""
        return rank_bound

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        """Returns how many pairs this solver can find."""
        return rank_bound


def random_unit_vector(dim: int, batch_size: Tensor, seed: int, stream: Tensor | int = 0) -> Tensor:
    """Returns (batch, dim) float64: one Gaussian direction, repeated for every member of the batch."""
    vector = tf.random.stateless_normal([dim], seed=[seed, stream], dtype=tf.float64)
    vector /= tf.norm(vector)
    return tf.broadcast_to(vector, tf.stack([batch_size, dim]))


def relative_residuals(residuals: Tensor, eigenvalues: Tensor) -> Tensor:
    """Returns (batch, k) residuals over the top eigenvalue; 0 where that is 0."""
    return divide_or_zero(residuals, eigenvalues[:, :1])


def all_converged(residuals: Tensor, eigenvalues: Tensor, tolerance: float) -> Tensor:
    """Returns (batch,) bool: each residual is at most `tolerance` times its own eigenvalue.

    |λ − θ| ≤ ‖A v − θ v‖, so that this certifies every eigenvalue to `tolerance`. Measured against λ₁
    instead, a small eigenvalue could be pure rounding and still pass.
    """
    return tf.reduce_all(residuals <= tolerance * eigenvalues, axis=-1)
