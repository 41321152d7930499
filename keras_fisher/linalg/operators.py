"""Batches of symmetric positive semi-definite matrices that are known by their products."""

from __future__ import annotations

import abc
from typing import NamedTuple

import tensorflow as tf

from keras_fisher.linalg.vectors import dot, norm
from keras_fisher.typing import Tensor

#: Vectors that a Krylov method takes from a start of which nothing is known before it believes one eigenpair.
DEFAULT_LEAST_DIMENSION = 9


class Product(NamedTuple):
    """What one product with A gives."""

    #: (batch, dim) float64, A v.
    image: Tensor
    #: (batch,) float64, vᵀA v: of a factored matrix ‖R v‖², by another route than `image`. Where rounding is
    #: all that there is, the two contradict each other, which the residual ‖A v − (vᵀA v) v‖ shows.
    quotient: Tensor


class SymmetricOperator(abc.ABC):
    """A batch of symmetric positive semi-definite matrices A, of shape (batch, dim, dim).

    A solver sees nothing but products. An operator is whole when it is made: what all products share is done.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """The number of rows of A."""

    @property
    @abc.abstractmethod
    def batch_size(self) -> Tensor:
        """Scalar int32, the number of matrices."""

    @property
    def rank_bound(self) -> int:
        """No more eigenvalues than this are nonzero."""
        return self.dim

    @property
    def precision(self) -> float:
        """Relative rounding error of one product: no residual below it means anything."""
        return 1e-15

    @property
    def products_per_matvec(self) -> int:
        """What `matvec` adds to `Eigenpairs.num_products`."""
        return 1

    @property
    def log_scale(self) -> Tensor:
        """(batch,) float64: the matrices meant are e^log_scale · A, where that would underflow."""
        return tf.zeros([self.batch_size], tf.float64)

    @abc.abstractmethod
    def matvec(self, vectors: Tensor) -> Product:
        """Returns A v and vᵀA v for unit vectors v (batch, dim) float64."""


class FactoredOperator(SymmetricOperator):
    """A = Rᵀ R with R of shape (batch, factor_dim, dim).

    The eigenvalues of A are those of the smaller matrix R Rᵀ, which the exact solver and Golub–Kahan use.
    Vectors of `factor_dim` numbers are float64, vectors of `dim` numbers have `dtype`: that of the products
    with Rᵀ.
    """

    #: Of the vectors v.
    dtype: tf.DType = tf.float64

    @property
    @abc.abstractmethod
    def factor_dim(self) -> int:
        """The number of rows of R."""

    @abc.abstractmethod
    def apply(self, vectors: Tensor) -> Tensor:
        """Returns R v: (batch, factor_dim) float64 for (batch, dim) in `dtype` or float64."""

    @abc.abstractmethod
    def pull_back(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Returns Rᵀ u for (batch, factor_dim) float64: (batch, dim) in `dtype`, times (batch,) float64.

        The scale is apart since it may be far below what `dtype` holds.
        """

    def apply_transpose(self, vectors: Tensor) -> Tensor:
        """Returns Rᵀ u: (batch, dim) float64 for (batch, factor_dim) float64."""
        rows, scales = self.pull_back(vectors)
        return tf.cast(rows, tf.float64) * scales[:, None]

    @abc.abstractmethod
    def rows(self) -> tuple[Tensor, Tensor]:
        """Returns S (batch, factor_dim, q) float64 and W (batch, q, dim) in `dtype` with R = S W.

        W is what costs: q products with Rᵀ.
        """

    @abc.abstractmethod
    def start(self, seed: Tensor | int) -> Tensor:
        """Returns (batch, factor_dim) float64 of unit norm: a guess of the top eigenvector of R Rᵀ."""

    @abc.abstractmethod
    def further_starts(self, count: int) -> Tensor:
        """Returns (batch, count, factor_dim): guesses of what the eigenvectors after the top one are made of.

        Not orthonormal.
        """

    def least_dimension(self) -> Tensor:
        """Returns (batch,) int32: the vectors from `start` on before which no single eigenpair is believed.

        A small residual says that there is an eigenvalue, not that it is the largest. One where the start is
        known to be close to the top eigenvector; more where it could be nearly orthogonal to it.
        """
        return tf.fill([self.batch_size], DEFAULT_LEAST_DIMENSION)

    @abc.abstractmethod
    def restrict(self, indices: Tensor) -> FactoredOperator:
        """Returns the operator of these matrices of the batch; an index may come twice."""

    @property
    def products_per_matvec(self) -> int:
        return 2

    def matvec(self, vectors: Tensor) -> Product:
        images = self.apply(vectors)  # v → R v → RᵀR v
        return Product(self.apply_transpose(images), dot(images, images))

    def outer(self) -> SymmetricOperator:
        """Returns R Rᵀ, an operator of `factor_dim` rows with the same nonzero eigenvalues."""
        return _OuterOperator(self)


class _OuterOperator(SymmetricOperator):
    """R Rᵀ of a factored operator."""

    def __init__(self, factored: FactoredOperator) -> None:
        self._factored = factored

    @property
    def dim(self) -> int:
        return self._factored.factor_dim

    @property
    def batch_size(self) -> Tensor:
        return self._factored.batch_size

    @property
    def rank_bound(self) -> int:
        return self._factored.rank_bound

    @property
    def precision(self) -> float:
        return self._factored.precision

    @property
    def products_per_matvec(self) -> int:
        return 2

    def matvec(self, vectors: Tensor) -> Product:
        rows, scales = self._factored.pull_back(vectors)  # u → Rᵀu → R Rᵀ u
        wide = tf.cast(rows, tf.float64)
        return Product(self._factored.apply(rows) * scales[:, None], dot(wide, wide) * tf.square(scales))


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

    def pull_back(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        rows = tf.linalg.matvec(self._factors, vectors, transpose_a=True)
        return rows, tf.ones_like(rows[:, 0])

    def rows(self) -> tuple[Tensor, Tensor]:
        return tf.eye(self.factor_dim, batch_shape=[self.batch_size], dtype=tf.float64), self._factors

    def start(self, seed: Tensor | int) -> Tensor:
        longest = tf.argmax(norm(self._factors), axis=-1)
        return tf.one_hot(longest, self.factor_dim, dtype=tf.float64)

    def further_starts(self, count: int) -> Tensor:
        longest = tf.math.top_k(norm(self._factors), count + 1).indices
        return tf.one_hot(longest[:, 1:], self.factor_dim, dtype=tf.float64)

    def restrict(self, indices: Tensor) -> DenseOperator:
        return type(self)(factors=tf.gather(self._factors, indices))
