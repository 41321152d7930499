"""The step of block Golub–Kahan bidiagonalisation."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from keras_fisher.linalg.eigensolver import random_unit_vector
from keras_fisher.linalg.operator import FactoredOperator, norm, normalize, orthogonalize, orthogonalize_rows
from keras_fisher.typing import Tensor

#: Rows whose angle to the others is less than about its root have no direction of their own left.
_DEPENDENT = 1e-12


class Krylov(NamedTuple):
    """R V = U B for the matrices still at work, after j steps of b rows each, m = j b.

    V are rows of `right`, U of `left`, and B is block lower bidiagonal: α on its diagonal, β below.
    """

    indices: Tensor  # (active,) int32, which matrices these are
    left: Tensor  # (active, m, factor_dim), orthonormal rows u₀ … u_{m−1}
    right: Tensor  # (active, m, dim), orthonormal rows v₀ … v_{m−1}, or zero
    factor: Tensor  # (active, m, m), B: ⟨u_i, R v_j⟩ but for the last β, which no step has made yet


def no_steps(operator: FactoredOperator) -> Krylov:
    """Returns the space before the first step."""
    batch_size = operator.batch_size
    return Krylov(
        tf.range(batch_size),
        tf.zeros(tf.stack([batch_size, 0, operator.factor_dim]), tf.float64),
        tf.zeros(tf.stack([batch_size, 0, operator.dim]), tf.float64),
        tf.zeros(tf.stack([batch_size, 0, 0]), tf.float64),
    )


def bidiagonalize(
    operator: FactoredOperator,
    step: Tensor | int,
    krylov: Krylov,
    seed: Tensor | int,
    block_size: int = 1,
) -> Krylov:
    """Returns the space with one more step, of `block_size` rows b each.

    U_j β_j = R V_{j−1} less its part in U, then V_j α_jᵀ = Rᵀ U_j less its part in V.

    Args:
        operator: prepared for blocks of this size.
        step: j, a tensor, or a number where the steps are unrolled.
        krylov: after j steps.
        seed: of the directions to go on in where the space is invariant.
        block_size: b, the same in all steps.
    """

    def first() -> tuple[Tensor, Tensor]:
        rows = operator.start()[:, None]
        if block_size > 1:
            rows = tf.concat([rows, operator.further_starts(block_size - 1)], axis=1)
        return _left_rows(rows, krylov.left, seed, 0), tf.zeros_like(rows[:, :, :0])

    def following() -> tuple[Tensor, Tensor]:
        last = tf.ensure_shape(krylov.right[:, -block_size:], [None, block_size, operator.dim])
        images = operator.apply_each(last)
        images = orthogonalize_rows(images, krylov.left)
        # Breakdown: the space is invariant. Go on in fresh directions, uncoupled, β = 0.
        largest = tf.reduce_max(tf.abs(krylov.factor), axis=[1, 2])[:, None]
        broken = norm(images) <= operator.precision * largest
        images = tf.where(broken[..., None], tf.zeros_like(images), images)
        rows = _left_rows(images, krylov.left, seed, block_size * step)
        beta = tf.matmul(rows, images, transpose_b=True)  # ⟨u_i, R v_j⟩
        before = tf.shape(krylov.factor)[2] - block_size
        return rows, tf.pad(beta, [[0, 0], [0, 0], [before, 0]])

    if isinstance(step, int):
        left, below = following() if step else first()
    else:
        left, below = tf.cond(step > 0, following, first)
    left = tf.ensure_shape(left, [None, block_size, operator.factor_dim])
    products = orthogonalize_rows(operator.apply_transpose_each(left), krylov.right)
    right = _right_rows(products)
    alpha = tf.matmul(products, right, transpose_b=True)  # ⟨Rᵀu_i, v_j⟩
    factor = tf.pad(krylov.factor, [[0, 0], [0, 0], [0, block_size]])
    return krylov._replace(
        left=tf.concat([krylov.left, left], axis=1),
        right=tf.concat([krylov.right, right], axis=1),
        factor=tf.concat([factor, tf.concat([below, alpha], axis=2)], axis=1),
    )


def _left_rows(rows: Tensor, basis: Tensor, seed: Tensor | int, stream: Tensor | int) -> Tensor:
    """Returns (active, b, factor_dim) orthonormal rows, orthogonal to `basis`, in whose span the rows lie.

    A row without a direction of its own becomes a random one; zero where the space is full.
    """
    found = basis
    num_rows = rows.shape[1]
    for index in range(num_rows):
        unit, length = normalize(rows[:, index])
        row = orthogonalize(unit, found)
        spare = random_unit_vector(rows.shape[2], tf.shape(rows)[0], seed, stream + index)
        is_lost = (length == 0) | (norm(row) < _DEPENDENT**0.5)
        row = tf.where(is_lost[:, None], orthogonalize(spare, found), row)
        row, length = normalize(row)
        row = tf.where(length[:, None] < _DEPENDENT**0.5, tf.zeros_like(row), row)
        found = tf.concat([found, row[:, None]], axis=1)
    return found[:, -num_rows:]


def _right_rows(rows: Tensor) -> Tensor:
    """Returns (active, b, dim) orthonormal rows, or zeros, that span the rows.

    By the eigenvectors of their small Gram matrix: matrix products, where the rows are as long as images.
    """
    units, _ = normalize(rows)
    if rows.shape[1] == 1:
        return units
    for _ in range(2):  # Twice is enough, as with Gram–Schmidt.
        gram = tf.matmul(units, units, transpose_b=True)
        # The decomposition raises an error for NaN, which the rows stay.
        gram = tf.where(tf.math.is_finite(gram), gram, tf.zeros_like(gram))
        values, columns = tf.linalg.eigh(gram)
        # A direction that is nothing but rounding is left out.
        roots = tf.where(values > _DEPENDENT, tf.math.rsqrt(tf.maximum(values, _DEPENDENT)), 0.0)
        units = tf.matmul(columns * roots[:, None, :], units, transpose_a=True)
    return units
