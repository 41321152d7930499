"""Trace, diagonal and Frobenius norm of the Fisher information, exact or estimated, in a graph.

With A = R Rᵀ in the space of outputs, whose trace and Frobenius norm are those of RᵀR: a probe z costs one
backward pass, Rᵀz, and zᵀA z = ‖Rᵀz‖². All results leave out the scale of the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_fisher.classifiers import Target
from keras_fisher.fisher.likelihoods import Likelihood
from keras_fisher.fisher.pullback_operator import PullbackOperator
from keras_fisher.linalg.vectors import normalize, orthonormal_rows
from keras_fisher.typing import Tensor


class Measured(NamedTuple):
    """A quantity of each matrix with the scale that it is to be multiplied by."""

    value: Tensor  # (batch, …) float64
    standard_error: Tensor  # (batch, …) float64, 0 where it is exact
    log_scale: Tensor  # (batch,) float64


def products(
    target: Target, images: Tensor, vectors: Tensor, *, likelihood: Likelihood
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns G v (batch, k, pixels), vᵀG v (batch, k), both less the scale, and the scale (batch,); float64.

    Args:
        target: the net.
        images: (batch, *image_shape).
        vectors: (batch, k, pixels) float64, of any length.
        likelihood: what the outputs mean.
    """
    operator = PullbackOperator(target, images, likelihood)
    units, norms = normalize(vectors)

    def product(unit: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(operator.matvec(unit))

    found, quadratic = _each(product, units, (tf.float64, tf.float64))
    return found * norms[..., None], quadratic * tf.square(norms), operator.log_scale


def factor_rows(target: Target, images: Tensor, *, likelihood: Likelihood) -> tuple[Tensor, Tensor]:
    """Returns R (batch, factor_dim, pixels) float64, and the scale (batch,)."""
    operator = PullbackOperator(target, images, likelihood)
    mixing, rows = operator.rows()
    return tf.matmul(mixing, tf.cast(rows, tf.float64)), operator.log_scale


def exact_trace(target: Target, images: Tensor, *, likelihood: Likelihood) -> Measured:
    """Returns tr A from the Gram matrix of the rows, (batch,)."""
    gram, log_scale = _gram(target, images, likelihood)
    return _exact(tf.linalg.trace(gram), log_scale)


def exact_frobenius_norm(target: Target, images: Tensor, *, likelihood: Likelihood) -> Measured:
    """Returns ‖A‖_F from the Gram matrix of the rows, (batch,)."""
    gram, log_scale = _gram(target, images, likelihood)
    return _exact(tf.norm(gram, axis=[1, 2]), log_scale)


def exact_diagonal(target: Target, images: Tensor, *, likelihood: Likelihood) -> Measured:
    """Returns Σ_c R_c², pixel by pixel, (batch, pixels)."""
    rows, log_scale = factor_rows(target, images, likelihood=likelihood)
    return _exact(tf.reduce_sum(tf.square(rows), axis=1), log_scale)


def estimated_trace(
    target: Target, images: Tensor, seed: Tensor, *, likelihood: Likelihood, num_backward: int
) -> Measured:
    """Returns tr A by Hutch++, (batch,).

    A sixth of the passes finds the space Q that most of A lies in, another sixth measures tr QᵀA Q exactly,
    and half of them estimate the trace of the rest, whose probes tell how much they scatter.

    Source: Meyer, Musco, Musco and Woodruff 2021, "Hutch++", Algorithm 1, with products of the factor.
    """
    operator = PullbackOperator(target, images, likelihood)
    size = min(num_backward // 6, operator.factor_dim)
    num_probes = num_backward - 3 * size
    sketch = _signs(operator, size, seed, 0)
    images_of_sketch = _each(lambda row: operator.apply(operator.apply_transpose(row)), sketch, tf.float64)
    space = orthonormal_rows(tf.ensure_shape(images_of_sketch, [None, size, operator.factor_dim]), seed)
    known = tf.reduce_sum(_each(_square_of(operator), space, tf.float64), axis=1)
    probes = _signs(operator, num_probes, seed, 1)
    probes -= tf.matmul(tf.matmul(probes, space, transpose_b=True), space)
    samples = _each(_square_of(operator), probes, tf.float64)
    rest, error = _mean_and_error(samples)
    return Measured(known + rest, error, operator.log_scale)


def estimated_diagonal(
    target: Target, images: Tensor, seed: Tensor, *, likelihood: Likelihood, num_backward: int
) -> Measured:
    """Returns E (Rᵀz)², pixel by pixel, of random signs z, (batch, pixels).

    Source: Bekas, Kokiopoulou and Saad 2007, in the space of outputs, where all terms are squares.
    """
    operator = PullbackOperator(target, images, likelihood)
    probes = tf.transpose(_signs(operator, num_backward, seed, 0), [1, 0, 2])

    def add(sums: tuple[Tensor, Tensor], probe: Tensor) -> tuple[Tensor, Tensor]:
        squares = tf.square(operator.apply_transpose(probe))
        return sums[0] + squares, sums[1] + tf.square(squares)

    zeros = tf.zeros(tf.stack([operator.batch_size, operator.dim]), tf.float64)
    first, second = tf.foldl(add, probes, (zeros, zeros), parallel_iterations=1)
    mean = first / num_backward
    variance = tf.maximum(second / num_backward - tf.square(mean), 0.0) / (num_backward - 1)
    return Measured(mean, tf.sqrt(variance), operator.log_scale)


def estimated_frobenius_norm(
    target: Target, images: Tensor, seed: Tensor, *, likelihood: Likelihood, num_backward: int
) -> Measured:
    """Returns ‖A‖_F from E ⟨Rᵀz, Rᵀz'⟩² over pairs of different random signs, (batch,).

    The standard error is that of the jackknife over the probes.
    """
    operator = PullbackOperator(target, images, likelihood)
    probes = _signs(operator, num_backward, seed, 0)
    rows = _each(operator.apply_transpose, probes, tf.float64)
    squares = tf.square(tf.matmul(rows, rows, transpose_b=True))
    squares -= tf.linalg.diag(tf.linalg.diag_part(squares))
    count = float(num_backward)
    of_each = tf.reduce_sum(squares, axis=-1)  # over the partners of each probe
    total = tf.reduce_sum(of_each, axis=-1, keepdims=True)
    mean = total[:, 0] / (count * (count - 1))
    without = (total - 2 * of_each) / ((count - 1) * (count - 2))
    spread = tf.reduce_sum(tf.square(without - tf.reduce_mean(without, axis=-1, keepdims=True)), axis=-1)
    error = tf.sqrt(spread * (count - 1) / count)
    norms = tf.sqrt(mean)
    return Measured(norms, tf.math.divide_no_nan(error, 2 * norms), operator.log_scale)


def _gram(target: Target, images: Tensor, likelihood: Likelihood) -> tuple[Tensor, Tensor]:
    """Returns A = R Rᵀ (batch, factor_dim, factor_dim) and the scale."""
    operator = PullbackOperator(target, images, likelihood)
    mixing, rows = operator.rows()
    rows = tf.cast(rows, tf.float64)
    small = tf.matmul(rows, rows, transpose_b=True)
    return tf.matmul(mixing, tf.matmul(small, mixing, transpose_b=True)), operator.log_scale


def _exact(value: Tensor, log_scale: Tensor) -> Measured:
    return Measured(value, tf.zeros_like(value), log_scale)


def _signs(operator: PullbackOperator, count: int, seed: Tensor, stream: int) -> Tensor:
    """Returns (batch, count, factor_dim) random signs, the same for every image."""
    bits = tf.random.stateless_uniform(
        [1, count, operator.factor_dim], tf.stack([seed, stream]), 0, 2, tf.int32
    )
    signs = tf.cast(2 * bits - 1, tf.float64)
    return tf.broadcast_to(signs, tf.stack([operator.batch_size, count, operator.factor_dim]))


def _square_of(operator: PullbackOperator) -> Callable[[Tensor], Tensor]:
    """Returns z ↦ ‖Rᵀz‖² = zᵀA z."""

    def square(row: Tensor) -> Tensor:
        return tf.reduce_sum(tf.square(operator.apply_transpose(row)), axis=-1)

    return square


def _mean_and_error(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean over the last axis and its standard error."""
    count = samples.shape[-1]
    mean, variance = tf.nn.moments(samples, axes=[-1])
    return mean, tf.sqrt(variance / (count - 1))


def _each(function: Callable[[Tensor], object], rows: Tensor, dtypes: object) -> Tensor:
    """Returns the function of each row of (batch, count, dim), one after the other, (batch, count, …)."""
    found = tf.map_fn(
        function, tf.transpose(rows, [1, 0, 2]), parallel_iterations=1, fn_output_signature=dtypes
    )
    count = rows.shape[1]

    def back(tensor: Tensor) -> Tensor:
        order = [1, 0, *range(2, tensor.shape.rank)]
        moved = tf.transpose(tensor, order)
        return tf.ensure_shape(moved, [None, count, *tensor.shape[2:]])

    return tf.nest.map_structure(back, found)
