"""The exact spectrum from the small Gram matrix."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

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


@dataclasses.dataclass(frozen=True)
class Gram(Eigensolver):
    """All nonzero eigenpairs of A = RᵀR, exactly, from the eigen-decomposition of R Rᵀ.

    R = S W costs the q products that make W (nine backward passes for ten classes). The small algebra is
    float64, so that eigenvalues far below λ₁ keep their relative accuracy.
    """

    def solve(
        self, operator: SymmetricOperator, num_eigenpairs: int, *, eigenvectors: bool = True, seed: int = 0
    ) -> Eigenpairs:
        if not isinstance(operator, FactoredOperator):
            raise TypeError("`operator` must be a FactoredOperator, since R Rᵀ needs R. Use Lanczos instead.")
        operator.prepare()
        mixing, rows = operator.rows()  # R = S W
        small = tf.matmul(rows, rows, transpose_b=True)  # W Wᵀ
        gram = tf.matmul(mixing, tf.matmul(small, mixing, transpose_b=True))  # S W Wᵀ Sᵀ = R Rᵀ
        eigenvalues, left = leading_eigenpairs(gram, num_eigenpairs)
        vectors = None
        if eigenvectors:
            # v = Rᵀ u / √λ, made orthonormal again where λ is too small for that to come out right.
            vectors = tf.matmul(tf.matmul(left, mixing), rows)
            vectors = orthonormal_rows(vectors, seed)
            images = tf.matmul(tf.matmul(vectors, rows, transpose_b=True), mixing, transpose_b=True)  # R v
            images = tf.matmul(tf.matmul(images, mixing), rows)  # RᵀR v
            residuals = norm(images - eigenvalues[..., None] * vectors)
        else:
            residuals = norm(tf.matmul(left, gram) - eigenvalues[..., None] * left)
        num_products = tf.fill([operator.batch_size], rows.shape[1])
        converged = tf.reduce_all(tf.math.is_finite(eigenvalues), axis=-1)  # A direct method.
        return Eigenpairs(
            eigenvalues,
            vectors,
            relative_residuals(residuals, eigenvalues),
            converged,
            num_products,
            operator.log_scale,
        )


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
