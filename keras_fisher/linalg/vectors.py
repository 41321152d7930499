"""Small algebra on batches of vectors and matrices."""

from __future__ import annotations

import tensorflow as tf

from keras_fisher.typing import Tensor

#: A row whose part of its own is shorter than about the root of this has no direction left.
_DEPENDENT = 1e-14
#: The square of a row's length, made orthonormal, below which that was so.
_LOST = 0.5
#: The share of a unit row's square that is not in the rows above it, from which on one Cholesky factor does.
_OWN = 0.5


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
    """Returns unit vectors (zero stays zero) and the norms, float64, over the last axis.

    Scaled by the largest entry first: the squares of a tiny gradient underflow in float32.
    """
    largest = tf.reduce_max(tf.abs(vectors), axis=-1, keepdims=True)
    scaled = divide_or_zero(vectors, largest)
    lengths = tf.norm(scaled, axis=-1, keepdims=True)
    norms = tf.cast(largest, tf.float64) * tf.cast(lengths, tf.float64)
    return divide_or_zero(scaled, lengths), tf.squeeze(norms, -1)


def divide_or_zero(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Returns numerator / denominator, and 0 where the denominator is 0."""
    return tf.math.divide_no_nan(numerator, denominator)


def nan_unless(mask: Tensor, rows: Tensor) -> Tensor:
    """Returns the rows (batch, ...) where `mask` (batch,) is True, and NaN elsewhere.

    It is made as it is needed: `tf.debugging.enable_check_numerics` stops at a constant.
    """
    one = tf.ones([], rows.dtype)
    missing = tf.sqrt(tf.where(mask, one, -one))
    shape = [-1, *[1] * (rows.shape.rank - 1)]
    return tf.where(tf.reshape(mask, shape), rows, tf.reshape(missing, shape))


def random_unit_vector(dim: int, batch_size: Tensor, seed: Tensor | int, stream: Tensor | int = 0) -> Tensor:
    """Returns (batch, dim) float64: one Gaussian direction, repeated for every member of the batch."""
    vector = tf.random.stateless_normal([dim], seed=[seed, stream], dtype=tf.float64)
    vector /= tf.norm(vector)
    return tf.broadcast_to(vector, tf.stack([batch_size, dim]))


def orthogonalize(rows: Tensor, basis: Tensor) -> Tensor:
    """Returns (batch, count, dim) rows less their part in the orthonormal, or zero, rows of `basis`.

    Twice, since one pass of Gram–Schmidt leaves cancellation behind ("twice is enough", Kahan and Parlett).
    """
    for _ in range(2):
        rows = rows - tf.matmul(tf.matmul(rows, basis, transpose_b=True), basis)
    return rows


def orthonormal_rows(
    rows: Tensor, seed: Tensor | int, basis: Tensor | None = None, stream: Tensor | int = 1
) -> Tensor:
    """Returns (batch, count, dim) orthonormal rows, of which the first j span what the first j rows do.

    By the Cholesky factor of their small Gram matrix, a little enlarged, so that it exists; and once more for
    rounding, unless they are nearly orthonormal to begin with. A row that is zero, or depends on those above
    it or on `basis`, becomes a random direction; zero where there is no room for one.

    Args:
        rows: (batch, count, dim).
        seed: of the random directions.
        basis: (batch, k, dim) orthonormal or zero rows, to which the result is orthogonal too.
        stream: of the random directions, which are the same for the same seed and stream.

    Source: Yamamoto, Nakatsukasa, Yanagisawa and Fukaya 2015; Fukaya et al. 2020 for the shift.
    """
    count, dim = rows.shape[1:]
    spare = tf.random.stateless_normal([count, dim], seed=[seed, stream], dtype=rows.dtype)
    spare /= tf.norm(spare, axis=-1, keepdims=True)
    # Unit vectors before what they have in common with others is taken off: what is left is measured by that.
    if basis is not None:
        rows = orthogonalize(normalize(rows)[0], basis)
    whitened, shares = _whiten(rows, are_units=basis is not None)

    def again() -> Tensor:
        return _whiten_again(whitened, spare, basis)

    # Once will do for rows that were nearly orthonormal before: nothing is made longer.
    return tf.cond(tf.reduce_all(shares > _OWN), lambda: whitened, again)


def _whiten_again(rows: Tensor, spare: Tensor, basis: Tensor | None) -> Tensor:
    """Returns whitened rows made orthonormal for good, with random ones for those that had no direction."""
    count, dim = rows.shape[1:]
    is_lost = tf.reduce_sum(tf.square(rows), axis=-1, keepdims=True) < _LOST
    rows = tf.where(is_lost, spare, rows)
    if basis is not None:
        rows = orthogonalize(rows, basis)
    rows, _ = _whiten(rows, are_units=True)
    if basis is None and count <= dim:  # There is room.
        return rows
    is_lost = tf.reduce_sum(tf.square(rows), axis=-1, keepdims=True) < _LOST
    return tf.where(is_lost, tf.zeros_like(rows), rows)


def _whiten(rows: Tensor, are_units: bool) -> tuple[Tensor, Tensor]:
    """Returns L⁻¹ D rows and (batch, count) the squares of L's diagonal.

    D makes them unit vectors, L Lᵀ is their Gram matrix then, a little enlarged: its diagonal has the parts
    of each row that are not in those above it.

    Args:
        rows: (batch, count, dim).
        are_units: whether they are unit vectors, or parts of such; D is one then.
    """
    wide = tf.cast(rows, tf.float64)
    gram = tf.matmul(wide, wide, transpose_b=True)
    lengths = tf.sqrt(tf.linalg.diag_part(gram))
    scales = tf.ones_like(lengths) if are_units else divide_or_zero(tf.ones_like(lengths), lengths)
    gram = scales[:, :, None] * gram * scales[:, None, :]
    # The decomposition raises an error for NaN. The rows stay NaN.
    gram = tf.where(tf.math.is_finite(gram), gram, tf.zeros_like(gram))
    identity = tf.eye(rows.shape[1], batch_shape=[tf.shape(rows)[0]], dtype=tf.float64)
    factor = tf.linalg.cholesky(gram + _DEPENDENT * identity)
    # A zero row of the Gram matrix has a pivot of next to nothing: its row is zero, times a large number.
    inverse = tf.linalg.triangular_solve(factor, identity) * scales[:, None, :]
    whitened = tf.matmul(tf.cast(inverse, rows.dtype), rows)
    return whitened, tf.square(tf.linalg.diag_part(factor))


def leading_eigenpairs(matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the `count` largest eigenvalues, descending and ≥ 0, and their eigenvectors as rows.

    Zeros where the matrices have fewer; values of NaN for a matrix with NaN.

    Args:
        matrices: (batch, m, m) float64, symmetric positive semi-definite.
        count: how many, a number.
    """
    # Scaled to trace one, so that nothing under- or overflows inside the decomposition.
    trace = tf.linalg.trace(matrices)[:, None, None]
    # The decomposition raises an error for NaN, which is what weights that diverge in training lead to.
    is_finite = tf.reduce_all(tf.math.is_finite(matrices), axis=[1, 2], keepdims=True)
    scaled = tf.where(is_finite, divide_or_zero(matrices, trace), tf.zeros_like(matrices))
    if matrices.shape[1] == 1:
        values, rows = scaled[:, 0], tf.ones_like(scaled)
    elif matrices.shape[1] == 2:
        values, rows = _of_two(scaled)
    else:
        values, columns = tf.linalg.eigh(scaled)
        values, rows = values[:, ::-1], tf.linalg.matrix_transpose(columns)[:, ::-1]
    values = tf.maximum(values[:, :count], 0.0) * trace[..., 0]
    # NaN of what is not finite. A constant would stop TensorFlow's own check of numerics.
    values = tf.where(is_finite[..., 0], values, 0.0 * tf.reduce_sum(matrices, axis=[1, 2])[:, None])
    missing = tf.maximum(count - tf.shape(matrices)[1], 0)
    values = tf.pad(values, [[0, 0], [0, missing]])
    rows = tf.pad(rows[:, :count], [[0, 0], [0, missing], [0, 0]])
    return tf.ensure_shape(values, [None, count]), tf.ensure_shape(rows, [None, count, matrices.shape[2]])


def _of_two(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both eigenpairs of 2 × 2 matrices, by Jacobi's rotation."""
    upper, lower = matrices[:, 0, 0], matrices[:, 1, 1]
    coupling = matrices[:, 0, 1]
    half = 0.5 * (upper - lower)
    radius = tf.sqrt(tf.square(half) + tf.square(coupling))
    angle = 0.5 * tf.atan2(coupling, half)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    middle = 0.5 * (upper + lower)
    top = middle + radius
    # The smaller one from the determinant, not from a difference.
    least = divide_or_zero(upper * lower - tf.square(coupling), top)
    rows = tf.stack([tf.stack([cosine, sine], axis=-1), tf.stack([-sine, cosine], axis=-1)], axis=1)
    return tf.stack([top, least], axis=-1), rows
