"""Ritz values of a bidiagonalisation, and how far off they are."""

from __future__ import annotations

import tensorflow as tf

from keras_fisher.linalg.operator import divide_or_zero, norm
from keras_fisher.typing import Tensor

#: What half a step is trusted to shrink an error by, at the most.
_LEAST_RATIO = 0.2


def descending_eigenpairs(matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the `count` largest eigenvalues and eigenvectors (rows); zeros where there are fewer."""
    size = tf.shape(matrices)[1]
    # The decomposition raises an error for NaN. Values that are NaN never converge to anything.
    is_finite = tf.reduce_all(tf.math.is_finite(matrices), axis=[1, 2])
    values, columns = tf.linalg.eigh(tf.where(is_finite[:, None, None], matrices, tf.zeros_like(matrices)))
    values = tf.maximum(values[:, ::-1][:, :count], 0.0)
    values = tf.where(is_finite[:, None], values, tf.constant(float("nan"), matrices.dtype))
    rows = tf.linalg.matrix_transpose(columns)[:, ::-1][:, :count]
    missing = tf.maximum(count - size, 0)
    values = tf.ensure_shape(tf.pad(values, [[0, 0], [0, missing]]), [None, count])
    return values, tf.ensure_shape(tf.pad(rows, [[0, 0], [0, missing], [0, 0]]), [None, count, None])


def estimated_errors(
    factor: Tensor, size: Tensor, room: int, values: Tensor, next_value: Tensor, earlier: Tensor
) -> Tensor:
    """Returns (batch, k) errors of the Ritz values θ.

    Half a step ago, in the rows of V without the last block, the residual r is known: by Kato and Temple the
    values there are off by r² / gap. Half a step multiplies by R or Rᵀ once more, which shrinks that by the
    ratio of eigenvalues or by what the last half-steps show; no more than a factor of five is relied on.

    Args:
        factor: (batch, m, m) B.
        size: m less a block.
        values: (batch, k) θ, descending.
        room: values that a block, or the answer, has room for.
        next_value: (batch, 1) the first Ritz value after those.
        earlier: (batch, k) the Ritz values of a step ago.
    """
    num_eigenpairs = values.shape[1]
    # BᵀB is V RᵀR Vᵀ, but that the last block is still without its β², which tells the gaps.
    extended = tf.matmul(factor, factor, transpose_a=True)
    before, rows = descending_eigenpairs(extended[:, :size, :size], num_eigenpairs)
    # RᵀR v − θ v lies in the last block, and is the coupling to it.
    residuals = norm(tf.matmul(rows, extended[:, :size, size:]))
    # What is missing lies outside of the space: the gap is to the first value that there is no room for.
    others, _ = descending_eigenpairs(extended, room + 1)
    gaps = before - others[:, room:]
    quadratic = tf.minimum(residuals, divide_or_zero(tf.square(residuals), gaps))
    quadratic = tf.where(gaps > 0, quadratic, residuals)
    shrinks_by = divide_or_zero(next_value, values)
    shrinks_by = tf.maximum(shrinks_by, divide_or_zero(values - before, before - earlier))
    return tf.clip_by_value(shrinks_by, _LEAST_RATIO, 1.0) * quadratic
