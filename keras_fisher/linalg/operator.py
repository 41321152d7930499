"""Batches of symmetric positive semi-definite matrices that are known by their products."""

from __future__ import annotations

import abc

import tensorflow as tf

from keras_fisher.typing import Tensor

#: Vectors that a Krylov method takes from a start of which nothing is known before it believes one eigenpair.
DEFAULT_LEAST_DIMENSION = 9


class SymmetricOperator(abc.ABC):
    """A batch of symmetric positive semi-definite matrices A, of shape (batch, dim, dim).

    A solver sees nothing but products. All vectors are float64: an operator whose products
    are made in single precision says so by `precision`.
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

    def prepare(self, block_size: int = 1) -> None:  # noqa: B027 - one with nothing to share leaves it empty
        """Does the work that all products share. A solver calls it once, outside of its loops.

        Args:
            block_size: how many vectors a matrix is going to be multiplied by at once.
        """

    @abc.abstractmethod
    def matvec(self, vectors: Tensor) -> Tensor:
        """Returns A v: (batch, dim) float64 for (batch, dim) float64."""


class FactoredOperator(SymmetricOperator):
    """A = Rᵀ R with R of shape (batch, factor_dim, dim).

    The eigenvalues of A are those of the smaller matrix R Rᵀ, which the exact solver and Golub–Kahan use.
    """

    @property
    @abc.abstractmethod
    def factor_dim(self) -> int:
        """The number of rows of R."""

    @abc.abstractmethod
    def apply(self, vectors: Tensor) -> Tensor:
        """Returns R v: (batch, factor_dim) float64 for (batch, dim) float64."""

    @abc.abstractmethod
    def apply_transpose(self, vectors: Tensor) -> Tensor:
        """Returns Rᵀ u: (batch, dim) float64 for (batch, factor_dim) float64."""

    def apply_each(self, blocks: Tensor) -> Tensor:
        """Returns R v of each row: (batch, block_size, factor_dim) for (batch, block_size, dim)."""
        return tf.stack([self.apply(vectors) for vectors in tf.unstack(blocks, axis=1)], axis=1)

    def apply_transpose_each(self, blocks: Tensor) -> Tensor:
        """Returns Rᵀ u of each row: (batch, block_size, dim) for (batch, block_size, factor_dim)."""
        return tf.stack([self.apply_transpose(vectors) for vectors in tf.unstack(blocks, axis=1)], axis=1)

    @abc.abstractmethod
    def rows(self) -> tuple[Tensor, Tensor]:
        """Returns S (batch, factor_dim, q) float64 and W (batch, q, dim) with R = S W.

        W is what costs: q products with Rᵀ. It may come in float32, if it has no more precision.
        """

    @abc.abstractmethod
    def start(self) -> Tensor:
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
        """Returns the operator of these matrices of the batch, unprepared: the others cost nothing more."""

    @property
    def memo_size(self) -> int:
        """The number of columns of `memo`, at least 1: TensorFlow does not scatter rows of nothing."""
        return 1

    def memo(self) -> Tensor:
        """Returns (batch, memo_size) float64: what `prepare` has computed and the caller of a solver wants.

        A solver that prepares restricted operators in a loop of its graph carries it out to `recall`.
        """
        return tf.zeros(tf.stack([self.batch_size, self.memo_size]), tf.float64)

    def recall(self, memo: Tensor) -> None:
        """Takes `memo` of all matrices, after a solver that carries it has run."""
        return

    @property
    def products_per_matvec(self) -> int:
        return 2

    def matvec(self, vectors: Tensor) -> Tensor:
        return self.apply_transpose(self.apply(vectors))  # v → R v → RᵀR v

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

    def matvec(self, vectors: Tensor) -> Tensor:
        return self._factored.apply(self._factored.apply_transpose(vectors))  # u → Rᵀu → R Rᵀ u


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Returns the inner products over the last axis."""
    return tf.reduce_sum(left * right, axis=-1)


def norm(vectors: Tensor) -> Tensor:
    """Returns the l2 norms over the last axis, safe from underflow and overflow of the squares.

    The derivative at zero is zero: the square root there is not asked for, whose 0 · ∞ is NaN under XLA.
    """
    largest = tf.reduce_max(tf.abs(vectors), axis=-1, keepdims=True)
    is_zero = tf.equal(largest, 0)
    scaled = vectors / tf.where(is_zero, tf.ones_like(largest), largest)
    squares = tf.reduce_sum(tf.square(scaled), axis=-1)
    squares = tf.where(tf.squeeze(is_zero, -1), tf.ones_like(squares), squares)
    return tf.squeeze(largest, -1) * tf.sqrt(squares)


def normalize(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Returns unit vectors (zero stays zero) and the norms."""
    norms = norm(vectors)
    return divide_or_zero(vectors, norms[..., None]), norms


def divide_or_zero(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Returns numerator / denominator, and 0 where the denominator is 0."""
    return tf.math.divide_no_nan(numerator, denominator)


def orthogonalize(vectors: Tensor, basis: Tensor) -> Tensor:
    """Returns (batch, dim) vectors less their part in the rows of `basis` (batch, k, dim).

    Twice, since one pass of Gram–Schmidt leaves cancellation behind ("twice is enough", Kahan and Parlett).
    Rows of zeros in `basis` are harmless.
    """
    return orthogonalize_rows(vectors[:, None], basis)[:, 0]


def orthogonalize_rows(rows: Tensor, basis: Tensor) -> Tensor:
    """Returns (batch, count, dim) rows less their parts in the rows of `basis`, as `orthogonalize` does."""
    for _ in range(2):
        coefficients = tf.matmul(rows, basis, transpose_b=True)
        rows = rows - tf.matmul(coefficients, basis)
    return rows
