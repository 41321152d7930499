"""Matrices that are there in full."""

from __future__ import annotations

import tensorflow as tf

from keras_fisher.linalg.operator import FactoredOperator, norm
from keras_fisher.typing import Tensor


class DenseOperator(FactoredOperator):
    """A = Rᵀ R from explicit matrices: R is the symmetric square root of A unless it is given.

    For tests and small problems.

    Args:
        matrices: (batch, dim, dim) symmetric positive semi-definite, or None.
        factors: (batch, factor_dim, dim) R, in place of `matrices`.
    """

    def __init__(self, matrices: Tensor | None = None, *, factors: Tensor | None = None) -> None:
        if (matrices is None) == (factors is None):
            raise ValueError("Pass exactly one of `matrices` and `factors`.")
        if factors is None:
            eigenvalues, vectors = tf.linalg.eigh(tf.cast(matrices, tf.float64))
            roots = tf.sqrt(tf.maximum(eigenvalues, 0.0))
            factors = tf.matmul(vectors * roots[:, None, :], vectors, transpose_b=True)
        self._factors = tf.cast(factors, tf.float64)

    @property
    def dim(self) -> int:
        return self._factors.shape[2]

    @property
    def factor_dim(self) -> int:
        return self._factors.shape[1]

    @property
    def rank_bound(self) -> int:
        return min(self.dim, self.factor_dim)

    @property
    def batch_size(self) -> Tensor:
        return tf.shape(self._factors)[0]

    def apply(self, vectors: Tensor) -> Tensor:
        return tf.linalg.matvec(self._factors, vectors)

    def apply_transpose(self, vectors: Tensor) -> Tensor:
        return tf.linalg.matvec(self._factors, vectors, transpose_a=True)

    def rows(self) -> tuple[Tensor, Tensor]:
        return tf.eye(self.factor_dim, batch_shape=[self.batch_size], dtype=tf.float64), self._factors

    def start(self) -> Tensor:
        longest = tf.argmax(norm(self._factors), axis=-1)
        return tf.one_hot(longest, self.factor_dim, dtype=tf.float64)

    def further_starts(self, count: int) -> Tensor:
        longest = tf.math.top_k(norm(self._factors), count + 1).indices
        return tf.one_hot(longest[:, 1:], self.factor_dim, dtype=tf.float64)

    def restrict(self, indices: Tensor) -> DenseOperator:
        return type(self)(factors=tf.gather(self._factors, indices))
