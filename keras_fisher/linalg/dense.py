"""The paper's eigen-decomposition of the explicit matrix."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.checks import check_integer
from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.eigensolver import Eigensolver, relative_residuals
from keras_fisher.linalg.gram import leading_eigenpairs
from keras_fisher.linalg.operator import FactoredOperator, SymmetricOperator, norm


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
        self, operator: SymmetricOperator, num_eigenpairs: int, *, eigenvectors: bool = True, seed: int = 0
    ) -> Eigenpairs:
        if operator.dim > self.max_dim:
            raise ValueError(
                f'`solver="dense"` takes at most max_dim={self.max_dim} pixels an image, got {operator.dim}. '
                'Use solver="exact", which gives the same answer from a small matrix, or raise max_dim.'
            )
        operator.prepare()
        if isinstance(operator, FactoredOperator):
            mixing, rows = operator.rows()
            factor = tf.matmul(mixing, tf.cast(rows, mixing.dtype))
            matrix = tf.matmul(factor, factor, transpose_a=True)
            num_products = rows.shape[1]
        else:
            columns = [
                operator.matvec(tf.one_hot(tf.fill([operator.batch_size], i), operator.dim, dtype=tf.float64))
                for i in range(operator.dim)
            ]
            matrix = tf.stack(columns, axis=1)
            num_products = operator.dim * operator.products_per_matvec
        eigenvalues, vectors = leading_eigenpairs(matrix, num_eigenpairs)
        residuals = norm(tf.matmul(vectors, matrix) - eigenvalues[..., None] * vectors)
        return Eigenpairs(
            eigenvalues,
            vectors if eigenvectors else None,
            relative_residuals(residuals, eigenvalues),
            tf.reduce_all(tf.math.is_finite(eigenvalues), axis=-1),
            tf.fill([operator.batch_size], num_products),
            operator.log_scale,
        )
