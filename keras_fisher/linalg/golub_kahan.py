"""Golub–Kahan bidiagonalisation of a factor."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from keras_fisher.checks import check_flag, check_integer, check_real
from keras_fisher.linalg.bidiagonalization import Krylov, bidiagonalize, no_steps
from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.eigensolver import Eigensolver, relative_residuals
from keras_fisher.linalg.gram import orthonormal_rows
from keras_fisher.linalg.operator import FactoredOperator, SymmetricOperator, divide_or_zero, norm
from keras_fisher.linalg.ritz import descending_eigenpairs, estimated_errors
from keras_fisher.typing import Tensor

#: For several pairs: two vectors see a double eigenvalue, and one start may see what the other does not.
_DEFAULT_BLOCK_SIZE = 2


class _Ritz(NamedTuple):
    """The best pairs so far."""

    values: Tensor  # (batch, k)
    vectors: Tensor  # (batch, k, dim)
    residuals: Tensor  # (batch, k)
    done: Tensor  # (batch,) bool, converged
    has_left: Tensor  # (batch,) bool, done or given up
    count: Tensor  # (batch,) int32, products
    log_scale: Tensor  # (batch,)
    memo: Tensor  # (batch, memo_size)


class _Problem(NamedTuple):
    """What is looked for, and how."""

    num_eigenpairs: int
    block_size: int
    max_steps: int


@dataclasses.dataclass(frozen=True)
class GolubKahan(Eigensolver):
    """The top k eigenpairs of A = RᵀR from alternate products with Rᵀ and R, started at a good guess.

    Half of the vectors live in the small space of R Rᵀ (classes), the others are the products Rᵀ u that the
    eigenvectors are combined from: every pass is used twice. From the top class the first product is the loss
    gradient, nearly the answer already. For several pairs each step takes a block of vectors, from the most
    probable classes on. Each matrix stops on its own; the finished ones leave the batch as soon as they are
    half of it, and the others go on with a forward pass of their own.

    The blind spot of every Krylov method: an eigenvector of which the start has nearly nothing goes unseen.
    One pair is therefore believed from `operator.least_dimension` vectors on, k of them from 2k + 2. That
    makes a wrong answer rare, not impossible; `Gram` has no such spot.

    Eigenvectors point to the side of the first product, ⟨v, Rᵀu₀⟩ ≥ 0, but for those of the null space.

    Args:
        tolerance: stop where the relative error of each eigenvalue is at most this, by Kato and Temple's
            ‖r‖² / gap with the gap between Ritz values and the pace so far: an estimate. `residual_norms`
            times λ₁ is a bound: some eigenvalue is as near, and the residual at most as large.
        max_dimension: of the Krylov space; None is the rank or 2k + 14, whichever is less.
        block_size: vectors of one step, b; None is 1 for one pair and 2 for several. Small blocks take the
            fewest passes (for the top five of a thousand classes to 1 %, on the worst of 20 photos, 25 with
            b = 1, 30 with b = 2, 40 and more with b = 8). But b = 1 may skip one of several close eigenvalues
            and say that it has converged, which b = 2 hardly does; larger ones see higher multiplicity.
        gives_up: whether a matrix that `max_dimension` is known to be too small for leaves at the start,
            unconverged. For `Staged`.

    Source: Golub and Kahan 1965; Golub, Luk and Overton 1981 for blocks; full reorthogonalisation twice.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, GolubKahan
        >>> pairs = GolubKahan().solve(DenseOperator(tf.linalg.diag([[3.0, 2.0, 0.0]])), 2)
        >>> [round(float(value), 4) for value in pairs.eigenvalues[0]]
        [3.0, 2.0]
    """

    tolerance: float = 1e-3
    max_dimension: int | None = None
    block_size: int | None = None
    gives_up: bool = False

    has_static_shapes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)
        if self.max_dimension is not None:
            check_integer("max_dimension", self.max_dimension, 1)
        if self.block_size is not None:
            check_integer("block_size", self.block_size, 1)
        check_flag("gives_up", self.gives_up)

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        # One block more than the space, and its copy as it grows.
        block_size = self._block_size(num_eigenpairs, rank_bound)
        return 2 * (self._dimension(num_eigenpairs, rank_bound) + block_size) + num_eigenpairs

    def num_copies(self, num_eigenpairs: int, rank_bound: int) -> int:
        return self._block_size(num_eigenpairs, rank_bound)

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
        block_size = self._block_size(num_eigenpairs, operator.rank_bound)
        dimension = self._dimension(num_eigenpairs, operator.rank_bound)
        problem = _Problem(num_eigenpairs, block_size, -(-dimension // block_size))
        krylov, ritz = no_steps(operator), _no_pairs(operator.batch_size, num_eigenpairs, operator)

        def unfinished(step: Tensor, krylov: Krylov, ritz: _Ritz) -> Tensor:
            return (step <= problem.max_steps) & (tf.size(krylov.indices) > 0)

        def run_round(step: Tensor, krylov: Krylov, ritz: _Ritz) -> tuple[Tensor, Krylov, _Ritz]:
            rest = operator.restrict(krylov.indices)
            rest.prepare(block_size)
            step, krylov, part = self._advance(rest, step, krylov, problem, seed)
            count = part.count + tf.gather(ritz.count, krylov.indices)
            part = part._replace(count=count, log_scale=rest.log_scale, memo=rest.memo())
            ritz = _Ritz(
                *(
                    tf.tensor_scatter_nd_update(whole, krylov.indices[:, None], piece)
                    for whole, piece in zip(ritz, part, strict=True)
                )
            )
            left_over = tf.where(~part.has_left)[:, 0]
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
        problem: _Problem,
        seed: Tensor | int,
    ) -> tuple[Tensor, Krylov, _Ritz]:
        """Takes steps until half of the matrices have converged, or no step is left."""

        def worthwhile(step: Tensor, krylov: Krylov, ritz: _Ritz) -> Tensor:
            open_count = tf.reduce_sum(tf.cast(~ritz.has_left, tf.int32))
            return (step <= problem.max_steps) & (2 * open_count > tf.size(ritz.has_left))

        def take_step(step: Tensor, krylov: Krylov, ritz: _Ritz) -> tuple[Tensor, Krylov, _Ritz]:
            krylov = bidiagonalize(operator, step, krylov, seed, problem.block_size)
            return step + 1, krylov, self._rayleigh_ritz(operator, step, krylov, ritz, problem)

        ritz = _no_pairs(tf.size(krylov.indices), problem.num_eigenpairs, operator)
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
        problem: _Problem,
    ) -> _Ritz:
        """Updates the Ritz pairs, which are those of R Rᵀ in the rows of U: all of B Bᵀ is known by now."""
        num_eigenpairs, block_size = problem.num_eigenpairs, problem.block_size
        projected = tf.matmul(krylov.factor, krylov.factor, transpose_b=True)
        room = max(block_size, num_eigenpairs)
        values, rows = descending_eigenpairs(projected, room + 1)
        next_value = values[:, room:]
        values, rows = values[:, :num_eigenpairs], rows[:, :num_eigenpairs]
        # v = Rᵀ Uᵀ s / √θ = Vᵀ Bᵀ s / √θ.
        mixed = tf.matmul(rows, krylov.factor)
        # ⟨v, Rᵀu₀⟩ ≥ 0.
        side = tf.matmul(mixed, krylov.factor[:, :1], transpose_b=True)
        mixed = divide_or_zero(tf.where(side < 0, -mixed, mixed), tf.sqrt(values)[..., None])
        vectors = tf.ensure_shape(tf.matmul(mixed, krylov.right), [None, num_eigenpairs, operator.dim])
        # R Rᵀ y − θ y = β_{j+1} α_jᵀ s_j, with a β that no step has made yet, but ‖β‖ ≤ ‖R‖ = √λ₁. The
        # residual of v is Rᵀ of it over √θ: at most λ₁ ‖α_jᵀ s_j / √θ‖, which is the end of `mixed`.
        residuals = values[:, :1] * tf.minimum(norm(mixed[:, :, -block_size:]), 1.0)
        # And the rounding of the products, which no step removes.
        rounding = operator.precision * values[:, :1]
        size = step * block_size
        earlier, _ = descending_eigenpairs(projected[:, :size, :size], num_eigenpairs)
        errors = rounding + estimated_errors(krylov.factor, size, room, values, next_value, earlier)
        accurate = tf.reduce_all(errors <= self.tolerance * values, axis=-1)
        # A small error says that there is such an eigenvalue, not that none above it hides.
        least = 2 if num_eigenpairs == 1 else 2 * num_eigenpairs + 2
        believed_from = tf.maximum(operator.least_dimension(), least)
        most = (problem.max_steps + 1) * block_size
        given_up = tf.fill(tf.shape(ritz.done), False)
        if self.gives_up:
            given_up |= believed_from > most
        believed = (step > 0) & (size + block_size >= tf.minimum(believed_from, most))
        done = ritz.done | (accurate & believed & ~given_up)
        keep = ritz.has_left[:, None]
        # Each step costs a block of each of two products, the first one (which has no v yet) of one.
        cost = block_size * tf.where(step > 0, 2, 1)
        return ritz._replace(
            values=tf.where(keep, ritz.values, values),
            vectors=tf.where(keep[..., None], ritz.vectors, vectors),
            residuals=tf.where(keep, ritz.residuals, residuals + rounding),
            count=ritz.count + tf.where(ritz.has_left, 0, cost),
            done=done,
            has_left=done | given_up,
        )

    def _block_size(self, num_eigenpairs: int, rank_bound: int) -> int:
        """Returns b, at most the rank."""
        default = 1 if num_eigenpairs == 1 else _DEFAULT_BLOCK_SIZE
        return min(self.block_size or default, rank_bound)

    def _dimension(self, num_eigenpairs: int, rank_bound: int) -> int:
        """Returns the largest dimension of the Krylov space."""
        block_size = self._block_size(num_eigenpairs, rank_bound)
        limit = self.max_dimension or max(2 * num_eigenpairs + 14, 4 * block_size)
        return max(num_eigenpairs, min(limit, rank_bound))


def _no_pairs(batch_size: Tensor, num_eigenpairs: int, operator: FactoredOperator) -> _Ritz:
    values = tf.zeros(tf.stack([batch_size, num_eigenpairs]), tf.float64)
    return _Ritz(
        values,
        tf.zeros(tf.stack([batch_size, num_eigenpairs, operator.dim]), tf.float64),
        values,
        tf.zeros([batch_size], tf.bool),
        tf.zeros([batch_size], tf.bool),
        tf.zeros([batch_size], tf.int32),
        tf.zeros([batch_size], tf.float64),
        tf.zeros(tf.stack([batch_size, operator.memo_size]), tf.float64),
    )


def _growing_shapes(krylov: Krylov) -> Krylov:
    """Returns shapes in which the numbers of matrices and of steps may change."""
    return Krylov(
        indices=tf.TensorShape([None]),
        left=tf.TensorShape([None, None, krylov.left.shape[2]]),
        right=tf.TensorShape([None, None, krylov.right.shape[2]]),
        factor=tf.TensorShape([None, None, None]),
    )


def _batch_shapes(ritz: _Ritz) -> _Ritz:
    """Returns shapes in which the number of matrices may change."""
    return _Ritz(*(tf.TensorShape([None, *tensor.shape[1:]]) for tensor in ritz))
