"""Golub–Kahan bidiagonalisation of a factor."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from keras_fisher.checks import check_integer, check_real
from keras_fisher.linalg.bidiagonalization import Krylov, bidiagonalize, no_steps
from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.eigensolver import Eigensolver, relative_residuals
from keras_fisher.linalg.gram import orthonormal_rows
from keras_fisher.linalg.operator import FactoredOperator, SymmetricOperator, divide_or_zero
from keras_fisher.typing import Tensor


class _Ritz(NamedTuple):
    """The best pairs so far."""

    values: Tensor  # (batch, k)
    vectors: Tensor  # (batch, k, dim)
    residuals: Tensor  # (batch, k)
    done: Tensor  # (batch,) bool
    count: Tensor  # (batch,) int32, products
    log_scale: Tensor  # (batch,)
    memo: Tensor  # (batch, memo_size)


@dataclasses.dataclass(frozen=True)
class GolubKahan(Eigensolver):
    """The top k eigenpairs of A = RᵀR from alternate products with Rᵀ and R, started at a good guess.

    Half of the vectors live in the small space of R Rᵀ (classes), the others are the products Rᵀ u that the
    eigenvectors are combined from: every pass is used twice. From the top class the first product is the loss
    gradient, nearly the answer already. Each matrix stops on its own; the finished ones leave the batch as
    soon as they are half of it, and the others go on with a forward pass of their own.

    The blind spot of every Krylov method: an eigenvector of which the start has nearly nothing goes unseen.
    One pair is therefore believed after `operator.least_dimension` steps, several when the space is full.
    That makes a wrong answer rare, not impossible; `Gram` has no such spot.

    Eigenvectors point to the side of the first product, ⟨v, Rᵀu₀⟩ ≥ 0, but for those of the null space.

    Args:
        tolerance: stop where the relative error of each eigenvalue is at most this, by Kato and Temple's
            ‖r‖² / gap with the gap between Ritz values: an estimate. The bound ‖r‖ is returned.
        max_dimension: of the Krylov space; None is the rank or 2k + 14, whichever is less.

    Source: Golub and Kahan 1965; full reorthogonalisation twice.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, GolubKahan
        >>> pairs = GolubKahan().solve(DenseOperator(tf.linalg.diag([[3.0, 2.0, 0.0]])), 2)
        >>> [round(float(value), 4) for value in pairs.eigenvalues[0]]
        [3.0, 2.0]
    """

    tolerance: float = 5e-4
    max_dimension: int | None = None

    has_static_shapes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)
        if self.max_dimension is not None:
            check_integer("max_dimension", self.max_dimension, 1)

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        return 1

    def solve(
        self,
        operator: SymmetricOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        if not isinstance(operator, FactoredOperator):
            raise TypeError(
                "`operator` must be a FactoredOperator: Golub–Kahan needs R. Use Lanczos instead."
            )
        limit = self.max_dimension or 2 * num_eigenpairs + 14
        dimension = max(num_eigenpairs, min(limit, operator.rank_bound))
        krylov, ritz = _start(operator, num_eigenpairs)

        def unfinished(step: Tensor, krylov: Krylov, ritz: _Ritz) -> Tensor:
            return (step <= dimension) & (tf.size(krylov.indices) > 0)

        def run_round(step: Tensor, krylov: Krylov, ritz: _Ritz) -> tuple[Tensor, Krylov, _Ritz]:
            rest = operator.restrict(krylov.indices)
            rest.prepare()
            step, krylov, part = self._advance(rest, step, krylov, num_eigenpairs, dimension, seed)
            count = part.count + tf.gather(ritz.count, krylov.indices)
            part = part._replace(count=count, log_scale=rest.log_scale, memo=rest.memo())
            ritz = _Ritz(
                *(
                    tf.tensor_scatter_nd_update(whole, krylov.indices[:, None], piece)
                    for whole, piece in zip(ritz, part, strict=True)
                )
            )
            left_over = tf.where(~part.done)[:, 0]
            return step, Krylov(*(tf.gather(tensor, left_over) for tensor in krylov)), ritz

        _, _, ritz = tf.while_loop(
            unfinished,
            run_round,
            (0, krylov, ritz),
            shape_invariants=(tf.TensorShape([]), _growing_shapes(krylov), _batch_shapes(ritz)),
        )
        operator.recall(ritz.memo)
        return Eigenpairs(
            ritz.values,
            # Unit vectors also where the matrix is zero and every direction is an eigenvector.
            orthonormal_rows(ritz.vectors, seed) if eigenvectors else None,
            relative_residuals(ritz.residuals, ritz.values),
            ritz.done,
            ritz.count,
            ritz.log_scale,
        )

    def _advance(
        self,
        operator: FactoredOperator,
        step: Tensor,
        krylov: Krylov,
        num_eigenpairs: int,
        dimension: int,
        seed: Tensor | int,
    ) -> tuple[Tensor, Krylov, _Ritz]:
        """Takes steps until half of the matrices have converged, or no step is left."""

        def worthwhile(step: Tensor, krylov: Krylov, ritz: _Ritz) -> Tensor:
            open_count = tf.reduce_sum(tf.cast(~ritz.done, tf.int32))
            return (step <= dimension) & (2 * open_count > tf.size(ritz.done))

        def take_step(step: Tensor, krylov: Krylov, ritz: _Ritz) -> tuple[Tensor, Krylov, _Ritz]:
            krylov = bidiagonalize(operator, step, krylov, seed)
            return (
                step + 1,
                krylov,
                self._rayleigh_ritz(operator, step, krylov, ritz, num_eigenpairs, dimension),
            )

        ritz = _no_pairs(tf.size(krylov.indices), num_eigenpairs, operator)
        return tf.while_loop(
            worthwhile,
            take_step,
            (step, krylov, ritz),
            shape_invariants=(tf.TensorShape([]), _growing_shapes(krylov), _batch_shapes(ritz)),
        )

    def _rayleigh_ritz(
        self,
        operator: FactoredOperator,
        step: Tensor,
        krylov: Krylov,
        ritz: _Ritz,
        num_eigenpairs: int,
        dimension: int,
    ) -> _Ritz:
        """Updates the Ritz pairs of RᵀR in v₀ … v_{j−1}, whose residual the step j has just made known."""
        # BᵀB is tridiagonal; with v_j it has one more row, still without its β², which tells the gaps.
        lower = tf.pad(tf.square(krylov.beta[:, 1:]), [[0, 0], [0, 1]])
        coupling = krylov.alpha[:, 1:] * krylov.beta[:, 1:]
        extended = tf.linalg.diag(tf.square(krylov.alpha) + lower)
        extended += tf.linalg.diag(coupling, k=1) + tf.linalg.diag(coupling, k=-1)
        values, columns = tf.linalg.eigh(extended[:, :step, :step])
        # Descending; padded with zeros while there are fewer than k.
        values = tf.maximum(values[:, ::-1][:, :num_eigenpairs], 0.0)
        rows = tf.linalg.matrix_transpose(columns)[:, ::-1][:, :num_eigenpairs]
        rows = tf.where(rows[:, :, :1] < 0, -rows, rows)
        last = tf.reduce_sum(rows * tf.one_hot(step - 1, step, dtype=tf.float64), axis=-1)
        missing = num_eigenpairs - tf.shape(values)[1]
        values = tf.ensure_shape(tf.pad(values, [[0, 0], [0, missing]]), [None, num_eigenpairs])
        last = tf.ensure_shape(tf.pad(last, [[0, 0], [0, missing]]), [None, num_eigenpairs])
        vectors = tf.matmul(tf.pad(rows, [[0, 0], [0, missing], [0, 0]]), krylov.right[:, :step])
        vectors = tf.ensure_shape(vectors, [None, num_eigenpairs, operator.dim])
        # ‖RᵀR v − θ v‖ = α_j β_j |s_last|, and the rounding of the products, which no step removes.
        residuals = tf.abs((krylov.alpha[:, -1] * krylov.beta[:, -1])[:, None] * last)
        rounding = operator.precision * values[:, :1]
        errors = rounding + _estimated_errors(values, residuals, tf.linalg.eigvalsh(extended)[:, ::-1])
        accurate = tf.reduce_all(errors <= self.tolerance * values, axis=-1)
        # One pair is there once its error is small, if the start was good. Of several one may still hide, of
        # which the start has nothing: they are believed at the end only.
        believed_from = dimension
        if num_eigenpairs == 1:
            believed_from = tf.minimum(operator.least_dimension(), dimension)
        keep = ritz.done[:, None]
        return ritz._replace(
            values=tf.where(keep, ritz.values, values),
            vectors=tf.where(keep[..., None], ritz.vectors, vectors),
            residuals=tf.where(keep, ritz.residuals, residuals + rounding),
            # Each step costs two products, the first one (which has no v yet) a single one.
            count=ritz.count + tf.where(ritz.done, 0, tf.where(step > 0, 2, 1)),
            done=ritz.done | (accurate & (step >= believed_from)),
        )


def _start(operator: FactoredOperator, num_eigenpairs: int) -> tuple[Krylov, _Ritz]:
    return no_steps(operator), _no_pairs(operator.batch_size, num_eigenpairs, operator)


def _no_pairs(batch_size: Tensor, num_eigenpairs: int, operator: FactoredOperator) -> _Ritz:
    values = tf.zeros(tf.stack([batch_size, num_eigenpairs]), tf.float64)
    return _Ritz(
        values,
        tf.zeros(tf.stack([batch_size, num_eigenpairs, operator.dim]), tf.float64),
        values,
        tf.zeros([batch_size], tf.bool),
        tf.zeros([batch_size], tf.int32),
        tf.zeros([batch_size], tf.float64),
        tf.zeros(tf.stack([batch_size, operator.memo_size]), tf.float64),
    )


def _growing_shapes(krylov: Krylov) -> Krylov:
    """Returns shapes in which the numbers of matrices and of steps may change."""
    return Krylov(
        *(tf.TensorShape([None, None, *tensor.shape[2:]][: tensor.shape.rank]) for tensor in krylov)
    )


def _batch_shapes(ritz: _Ritz) -> _Ritz:
    """Returns shapes in which the number of matrices may change."""
    return _Ritz(*(tf.TensorShape([None, *tensor.shape[1:]]) for tensor in ritz))


def _estimated_errors(values: Tensor, residuals: Tensor, ritz_values: Tensor) -> Tensor:
    """Returns (batch, k) errors of the eigenvalues: min(r, r² / gap), with the gap to the next Ritz value.

    Args:
        values: (batch, k) θ, descending.
        residuals: (batch, k) r.
        ritz_values: (batch, any) all Ritz values that are known, descending, of a space one larger.
    """
    distances = tf.abs(values[:, :, None] - ritz_values[:, None, :])
    # The nearest of them is the value itself.
    index = tf.argsort(distances, axis=-1)
    gaps = tf.gather(distances, index, batch_dims=2)[:, :, 1:2]
    gaps = tf.reduce_min(tf.concat([gaps, values[:, :, None]], axis=-1), axis=-1)
    quadratic = divide_or_zero(tf.square(residuals), gaps)
    return tf.where(gaps > 0, tf.minimum(residuals, quadratic), residuals)
