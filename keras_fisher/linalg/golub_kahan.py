"""Golub–Kahan bidiagonalisation of a factor R: eigenpairs of RᵀR from alternate products with Rᵀ and R."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from keras_fisher.checks import check_integer, check_real
from keras_fisher.linalg.eigensolver import (
    Eigenpairs,
    Eigensolver,
    all_converged,
    check_factored,
    relative_residuals,
)
from keras_fisher.linalg.operators import FactoredOperator
from keras_fisher.linalg.vectors import (
    divide_or_zero,
    dot,
    leading_eigenpairs,
    norm,
    normalize,
    orthogonalize,
    orthonormal_rows,
    random_unit_vector,
)
from keras_fisher.typing import Tensor

#: For several pairs: two vectors see a double eigenvalue, and one start may see what the other does not.
_DEFAULT_BLOCK_SIZE = 2
#: What the second eigenvalue may be over its Ritz value, of a space that was made for the first one.
_CAUTION = 1.5


class Krylov(NamedTuple):
    """R V = U B after j steps of b rows each, m = j b.

    V are rows of `right`, U of `left`, and B is block lower bidiagonal: α on its diagonal, β below.
    """

    left: Tensor  # (batch, m, factor_dim) float64, orthonormal rows u₀ … u_{m−1}
    right: Tensor  # (batch, m, dim), orthonormal rows v₀ … v_{m−1}, or zero
    factor: Tensor  # (batch, m, m) B: ⟨u_i, R v_j⟩ but for the last β, which no step has made yet
    rounding: Tensor  # (batch,) the largest |⟨u_i, R v_j⟩ − ⟨Rᵀu_i, v_j⟩| so far


class _Ritz(NamedTuple):
    """The best pairs so far; those of a matrix stay as when it converged."""

    values: Tensor  # (batch, k)
    left: Tensor  # (batch, k, factor_dim)
    vectors: Tensor  # (batch, k, dim)
    residuals: Tensor  # (batch, k)
    done: Tensor  # (batch,) bool, converged
    count: Tensor  # (batch,) int32, products
    log_scale: Tensor  # (batch,)


@dataclasses.dataclass(frozen=True)
class GolubKahan(Eigensolver):
    """The top k eigenpairs of A = RᵀR from alternate products with Rᵀ and R, started at a good guess.

    Half of the vectors live in the small space of R Rᵀ (classes), the others are the products Rᵀ u that the
    eigenvectors are combined from: every pass is used twice. From the top class the first product is the loss
    gradient, nearly the answer already. For several pairs each step takes a block of vectors, from the most
    probable classes on. Matrices that have converged leave the batch as soon as they are half of it, and the
    others go on with a forward pass of their own.

    The blind spot of every Krylov method: an eigenvector of which the start has nearly nothing goes unseen.
    One pair is therefore believed from `operator.least_dimension` vectors on, k of them from 2k + 2, or where
    the space is full. That makes a wrong answer rare, not impossible; `Gram` has no such spot.

    Eigenvectors point to the side of the first product, ⟨v, Rᵀu₀⟩ ≥ 0, but for those of the null space.

    Args:
        tolerance: float, default 1e-3. Stops where the relative error of each eigenvalue is at most this, by
            Kato and Temple's ‖r‖² / gap with the gap between Ritz values. `residual_norms` times λ₁ is a
            bound: some eigenvalue is as near, and the residual at most as large.
        max_dimension: int or None. Of the Krylov space; None is the rank or 2k + 14, whichever is less.
        block_size: int or None. Vectors of one step, b; None is 1 for one pair and 2 for several. Small
            blocks take the fewest passes. But b = 1 may skip one of several close eigenvalues and say that it
            has converged, which b = 2 hardly does; larger ones see higher multiplicity.

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

    has_static_shapes: ClassVar[bool] = False
    needs_factor: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)
        if self.max_dimension is not None:
            check_integer("max_dimension", self.max_dimension, 1)
        if self.block_size is not None:
            check_integer("block_size", self.block_size, 1)

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
        operator: FactoredOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        check_factored(self, operator)
        block_size = self._block_size(num_eigenpairs, operator.rank_bound)
        max_steps = -(-self._dimension(num_eigenpairs, operator.rank_bound) // block_size)

        def unfinished(step: Tensor, indices: Tensor, krylov: Krylov, ritz: _Ritz) -> Tensor:
            return (step <= max_steps) & (tf.size(indices) > 0)

        def run_round(
            step: Tensor, indices: Tensor, krylov: Krylov, ritz: _Ritz
        ) -> tuple[Tensor, Tensor, Krylov, _Ritz]:
            rest = operator.restrict(indices)
            step, krylov, part = self._advance(
                rest, step, krylov, num_eigenpairs, block_size, max_steps, seed
            )
            ritz = _Ritz(
                *(
                    tf.tensor_scatter_nd_update(whole, indices[:, None], piece)
                    for whole, piece in zip(ritz, part, strict=True)
                )
            )
            left_over = tf.where(~part.done)[:, 0]
            return (
                step,
                tf.gather(indices, left_over),
                Krylov(*(tf.gather(tensor, left_over) for tensor in krylov)),
                ritz,
            )

        krylov, ritz = no_steps(operator), _no_pairs(operator, num_eigenpairs)
        _, _, _, ritz = tf.while_loop(
            unfinished,
            run_round,
            (0, tf.range(operator.batch_size), krylov, ritz),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None]),
                _growing_shapes(operator),
                _batch_shapes(ritz),
            ),
        )
        return Eigenpairs(
            ritz.values,
            # Unit vectors also where the matrix is zero and every direction is an eigenvector.
            orthonormal_rows(ritz.vectors, seed) if eigenvectors else None,
            ritz.left,
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
        block_size: int,
        max_steps: int,
        seed: Tensor | int,
    ) -> tuple[Tensor, Krylov, _Ritz]:
        """Takes steps until half of the matrices have converged, or no step is left."""
        each = operator
        if block_size > 1:  # One pass of a larger batch is quicker than many passes.
            each = operator.restrict(tf.repeat(tf.range(operator.batch_size), block_size))

        def worthwhile(step: Tensor, krylov: Krylov, ritz: _Ritz) -> Tensor:
            num_open = tf.reduce_sum(tf.cast(~ritz.done, tf.int32))
            return (step <= max_steps) & (2 * num_open > tf.size(ritz.done))

        def take_step(step: Tensor, krylov: Krylov, ritz: _Ritz) -> tuple[Tensor, Krylov, _Ritz]:
            krylov = bidiagonalize(operator, each, step, krylov, seed, block_size)
            found, errors = _rayleigh_ritz(operator, step, krylov, num_eigenpairs, block_size)
            # A small error says that there is such an eigenvalue, not that none above it hides: not in a full
            # space.
            least = 2 if num_eigenpairs == 1 else 2 * num_eigenpairs + 2
            believed_from = tf.minimum(
                tf.maximum(operator.least_dimension(), least), _full_dimension(operator)
            )
            believed = (step > 0) & ((step + 1) * block_size >= believed_from)
            accurate = all_converged(errors, found.values, self.tolerance)
            kept = _keep(ritz, found._replace(done=accurate & believed))
            # The matrices of a round are all multiplied until it ends.
            return step + 1, krylov, kept._replace(count=found.count)

        ritz = _no_pairs(operator, num_eigenpairs)
        return tf.while_loop(
            worthwhile,
            take_step,
            (step, krylov, ritz),
            shape_invariants=(tf.TensorShape([]), _growing_shapes(operator), _batch_shapes(ritz)),
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


def bidiagonalize(
    operator: FactoredOperator,
    each: FactoredOperator,
    step: Tensor,
    krylov: Krylov,
    seed: Tensor | int,
    block_size: int,
) -> Krylov:
    """Returns the space with one more step, of `block_size` rows b each.

    U_j β_j = R V_{j−1} less its part in U, then V_j α_jᵀ = Rᵀ U_j less its part in V.

    Args:
        operator: R.
        each: R of each matrix b times, one after the other.
        step: j.
        krylov: after j steps.
        seed: of the directions to go on in where the space is invariant.
        block_size: b, the same in all steps.
    """

    def first() -> tuple[Tensor, Tensor, Tensor]:
        rows = operator.start(seed)[:, None]
        if block_size > 1:
            rows = tf.concat([rows, operator.further_starts(block_size - 1)], axis=1)
        rows = orthonormal_rows(rows, seed, stream=1)
        return rows, tf.zeros_like(rows[:, :, :0]), krylov.rounding

    def following() -> tuple[Tensor, Tensor, Tensor]:
        last = tf.ensure_shape(krylov.right[:, -block_size:], [None, block_size, operator.dim])
        images = each.apply(tf.reshape(last, [-1, operator.dim]))
        images = tf.reshape(images, [-1, block_size, operator.factor_dim])
        # ⟨u_i, R v_j⟩ is known as ⟨Rᵀu_i, v_j⟩. By how much the two differ is what rounding has done.
        known = krylov.factor[:, :, -block_size:]
        differences = tf.abs(tf.matmul(krylov.left, images, transpose_b=True) - known)
        rounding = tf.maximum(krylov.rounding, tf.reduce_max(differences, axis=[1, 2]))
        images = orthogonalize(images, krylov.left)
        # Breakdown: the space is invariant. Go on in fresh directions, uncoupled, β = 0.
        largest = tf.reduce_max(tf.abs(krylov.factor), axis=[1, 2])[:, None]
        broken = norm(images) <= operator.precision * largest
        images = tf.where(broken[..., None], tf.zeros_like(images), images)
        rows = orthonormal_rows(images, seed, krylov.left, stream=step + 1)
        beta = tf.matmul(rows, images, transpose_b=True)  # ⟨u_i, R v_j⟩
        before = tf.shape(krylov.factor)[2] - block_size
        return rows, tf.pad(beta, [[0, 0], [0, 0], [before, 0]]), rounding

    left, below, rounding = tf.cond(step > 0, following, first)
    left = tf.ensure_shape(left, [None, block_size, operator.factor_dim])
    products, scales = each.pull_back(tf.reshape(left, [-1, operator.factor_dim]))
    products = orthogonalize(tf.reshape(products, [-1, block_size, operator.dim]), krylov.right)
    right = normalize(products)[0]
    if block_size > 1:
        right = orthonormal_rows(products, seed, krylov.right, stream=-1 - step)
    alpha = tf.cast(tf.matmul(products, right, transpose_b=True), tf.float64)
    alpha *= tf.reshape(scales, [-1, block_size, 1])  # ⟨Rᵀu_i, v_j⟩
    factor = tf.pad(krylov.factor, [[0, 0], [0, 0], [0, block_size]])
    return Krylov(
        left=tf.concat([krylov.left, left], axis=1),
        right=tf.concat([krylov.right, right], axis=1),
        factor=tf.concat([factor, tf.concat([below, alpha], axis=2)], axis=1),
        rounding=rounding,
    )


def _rayleigh_ritz(
    operator: FactoredOperator, step: Tensor, krylov: Krylov, num_eigenpairs: int, block_size: int
) -> tuple[_Ritz, Tensor]:
    """Returns the pairs in the rows of U, where all of B Bᵀ is known, and the errors of their values."""
    room = max(block_size, num_eigenpairs)
    values, rows = leading_eigenpairs(
        tf.matmul(krylov.factor, krylov.factor, transpose_b=True), num_eigenpairs
    )
    # v = Rᵀ Uᵀ s / √θ = Vᵀ Bᵀ s / √θ.
    mixed = tf.matmul(rows, krylov.factor)
    # ⟨v, Rᵀu₀⟩ ≥ 0.
    side = tf.matmul(mixed, krylov.factor[:, :1], transpose_b=True)
    rows, mixed = (tf.where(side < 0, -part, part) for part in (rows, mixed))
    mixed = divide_or_zero(mixed, tf.sqrt(values)[..., None])
    vectors = tf.matmul(tf.cast(mixed, krylov.right.dtype), krylov.right)
    # R Rᵀ y − θ y = β_{j+1} α_jᵀ s_j, with a β that no step has made yet, but ‖β‖ ≤ ‖R‖ = √λ₁. The
    # residual of v is Rᵀ of it over √θ: at most λ₁ ‖α_jᵀ s_j / √θ‖, which is the end of `mixed`.
    residuals = values[:, :1] * tf.minimum(norm(mixed[:, :, -block_size:]), 1.0)
    rounding = _rounding(operator, krylov.rounding, values)
    extended = tf.matmul(krylov.factor, krylov.factor, transpose_a=True)
    errors = rounding + _estimated_errors(extended, step * block_size, room, num_eigenpairs)
    ritz = _Ritz(
        values,
        tf.ensure_shape(tf.matmul(rows, krylov.left), [None, num_eigenpairs, operator.factor_dim]),
        tf.ensure_shape(vectors, [None, num_eigenpairs, operator.dim]),
        residuals + rounding,
        tf.fill([operator.batch_size], False),
        # Each step costs a block of each of two products, the first one (which has no v yet) of one.
        tf.fill([operator.batch_size], block_size * (2 * step + 1)),
        operator.log_scale,
    )
    return ritz, errors


def _rounding(operator: FactoredOperator, mismatch: Tensor, values: Tensor) -> Tensor:
    """Returns (batch, k) what rounding may have done to the values.

    An error δ of σ = √θ is one of 2 √θ δ + δ² of θ. Where classes cancel, J is large and R is not: products
    of R are off by the rounding of J, and ⟨u, R v⟩ differs from ⟨Rᵀu, v⟩ by as much.
    """
    mismatch = mismatch[:, None]
    return operator.precision * values[:, :1] + 2 * tf.sqrt(values) * mismatch + tf.square(mismatch)


def _estimated_errors(extended: Tensor, size: Tensor | int, room: int, num_eigenpairs: int) -> Tensor:
    """Returns (batch, k) errors of the Ritz values of half a step ago; those of now are smaller.

    The residual r of then is known now: by Kato and Temple the values are off by r² / gap.

    Args:
        extended: (batch, m, m), R Rᵀ or RᵀR in the space of now, whose last block may lack what comes next.
        size: of the space of half a step ago, which comes first.
        room: values that a block, or the answer, has room for.
        num_eigenpairs: k.
    """
    before, rows = leading_eigenpairs(extended[:, :size, :size], num_eigenpairs)
    residuals = norm(tf.matmul(rows, extended[:, :size, size:]))
    # What is missing lies outside of the space: the gap is to the first value that there is no room for. Ritz
    # values are too small, the later ones the more so, and a gap that is too large makes an error look small.
    others, _ = leading_eigenpairs(extended, room + 1)
    gaps = before - (_CAUTION if num_eigenpairs == 1 else 1.0) * others[:, room:]
    quadratic = tf.minimum(residuals, divide_or_zero(tf.square(residuals), gaps))
    return tf.where(gaps > 0, quadratic, residuals)


def _keep(ritz: _Ritz, found: _Ritz) -> _Ritz:
    """Returns what was found, but what there was for the matrices that are done."""
    keep = ritz.done
    parts = [
        tf.where(tf.reshape(keep, [-1, *[1] * (new.shape.rank - 1)]), old, new)
        for old, new in zip(ritz, found, strict=True)
    ]
    return _Ritz(*parts)


def _full_dimension(operator: FactoredOperator) -> int:
    """Returns the number of vectors u that leave nothing out.

    One more than the rank, since the start may have a part that R Rᵀ sends to zero.
    """
    return min(operator.rank_bound + 1, operator.factor_dim)


def no_steps(operator: FactoredOperator) -> Krylov:
    """Returns the space before the first step."""
    batch_size = operator.batch_size
    return Krylov(
        tf.zeros(tf.stack([batch_size, 0, operator.factor_dim]), tf.float64),
        tf.zeros(tf.stack([batch_size, 0, operator.dim]), operator.dtype),
        tf.zeros(tf.stack([batch_size, 0, 0]), tf.float64),
        tf.zeros([batch_size], tf.float64),
    )


def _no_pairs(operator: FactoredOperator, num_eigenpairs: int) -> _Ritz:
    batch_size = operator.batch_size
    values = tf.zeros(tf.stack([batch_size, num_eigenpairs]), tf.float64)
    return _Ritz(
        values,
        tf.zeros(tf.stack([batch_size, num_eigenpairs, operator.factor_dim]), tf.float64),
        tf.zeros(tf.stack([batch_size, num_eigenpairs, operator.dim]), operator.dtype),
        values,
        tf.zeros([batch_size], tf.bool),
        tf.zeros([batch_size], tf.int32),
        tf.zeros([batch_size], tf.float64),
    )


def _growing_shapes(operator: FactoredOperator) -> Krylov:
    """Returns shapes in which the numbers of matrices and of steps may change."""
    return Krylov(
        tf.TensorShape([None, None, operator.factor_dim]),
        tf.TensorShape([None, None, operator.dim]),
        tf.TensorShape([None, None, None]),
        tf.TensorShape([None]),
    )


def _batch_shapes(ritz: _Ritz) -> _Ritz:
    """Returns shapes in which the number of matrices may change."""
    return _Ritz(*(tf.TensorShape([None, *tensor.shape[1:]]) for tensor in ritz))


@dataclasses.dataclass(frozen=True)
class FixedGolubKahan(Eigensolver):
    """The top eigenpair of A = RᵀR from a few products, the same number for every matrix.

    `GolubKahan` goes on until all matrices have converged. Here all sizes are known before the run, so that
    XLA compiles it, a training step always costs the same, and no step is more than a few small operations.
    From the top class three products are mostly enough: Rᵀu₀, nearly the gradient of the loss, R v₀ and
    Rᵀu₁. A fourth, R v₁, gives the pair in the space of v₀ and v₁, and says how good it is.

    Args:
        num_products: int, default 3. With Rᵀ and R in turn.
        tolerance: float, default 1e-3. `converged` is where the relative error of the eigenvalue is at most
            this, by Kato and Temple's ‖r‖² / gap for the pair of one product before.

    Source: Golub and Kahan 1965. Rayleigh–Ritz in the space of R Rᵀ after an odd number of products, in that
        of RᵀR after an even one: each has a use for the last product.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, FixedGolubKahan
        >>> solver = FixedGolubKahan(num_products=5)
        >>> pairs = solver.solve(DenseOperator(tf.linalg.diag([[3.0, 2.0, 0.0]])), 1)
        >>> round(float(pairs.eigenvalues[0, 0]), 4)
        3.0
    """

    num_products: int = 3
    tolerance: float = 1e-3

    needs_factor: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_integer("num_products", self.num_products, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        return 1

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        return 1

    def solve(
        self,
        operator: FactoredOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        check_factored(self, operator)
        num_products = min(self.num_products, 2 * _full_dimension(operator))
        chain = _Chain(operator, seed)
        for index in range(num_products):
            if index % 2:
                chain.apply()
            else:
                chain.apply_transpose()
        factor = chain.factor()  # (batch, number of u, number of v)
        is_of_classes = num_products % 2 == 1
        if is_of_classes:
            projected, extended = _outer(factor), _inner(factor)
        else:
            projected, extended = _inner(factor), _outer(factor)
        values, rows = leading_eigenpairs(projected, 1)
        # v = Vᵀ Bᵀ s / √θ in the space of classes, Vᵀ s in that of pixels; and u the other way round.
        roots = tf.sqrt(values)[..., None]
        if is_of_classes:
            left, mixed = rows, divide_or_zero(tf.matmul(rows, factor), roots)
        else:
            left, mixed = divide_or_zero(tf.matmul(rows, factor, transpose_b=True), roots), rows
        # ⟨v, Rᵀu₀⟩ ≥ 0.
        sign = tf.where(mixed[:, :, :1] < 0, -1.0, 1.0)
        sign = tf.cast(sign, tf.float64)
        left, mixed = sign * left, sign * mixed
        rounding = _rounding(operator, chain.rounding, values)
        if num_products == 1:
            errors = values  # nothing is known of it
        else:
            errors = rounding + _estimated_errors(
                extended, len(chain.right if is_of_classes else chain.left) - 1, 1, 1
            )
        # What comes next is unknown, but at most √λ₁: see `GolubKahan`.
        coupling = (
            tf.abs(mixed[:, :, -1])
            if is_of_classes
            else chain.beta * divide_or_zero(tf.abs(mixed[:, :, -1]), tf.sqrt(values))
        )
        residuals = values * tf.minimum(coupling, 1.0) + rounding
        is_full = len(chain.right) >= min(_full_dimension(operator), operator.dim)
        is_known = is_full | (operator.least_dimension() <= len(chain.right))
        converged = all_converged(errors, values, self.tolerance) & is_known
        vectors = None
        if eigenvectors:
            vectors = _combine(mixed, chain.right)
            spare = random_unit_vector(operator.dim, operator.batch_size, seed, 1)
            vectors = tf.where(values > 0, vectors, tf.cast(spare, vectors.dtype))[:, None]
        return Eigenpairs(
            values,
            vectors,
            _combine(left, chain.left)[:, None],
            relative_residuals(residuals, values),
            converged,
            tf.fill([operator.batch_size], num_products),
            operator.log_scale,
        )


class _Chain:
    """u₀, v₀, u₁, v₁, … of one start, step by step."""

    def __init__(self, operator: FactoredOperator, seed: Tensor | int) -> None:
        self._operator = operator
        self._seed = seed
        self._next = operator.start(seed)
        #: (batch, factor_dim) each, u.
        self.left: list[Tensor] = []
        #: (batch, dim) each, v.
        self.right: list[Tensor] = []
        self._alphas: list[Tensor] = []
        self._betas: list[Tensor] = []
        #: (batch,) by how much ⟨u_i, R v_j⟩ and ⟨Rᵀu_i, v_j⟩ differ at the most.
        self.rounding: Tensor = tf.zeros([operator.batch_size], tf.float64)

    @property
    def beta(self) -> Tensor:
        """(batch, 1) the last β."""
        return self._betas[-1][:, None]

    def apply_transpose(self) -> None:
        """Takes the next u, and v from Rᵀu = β v_{j−1} + α v."""
        self.left.append(self._next)
        product, scales = self._operator.pull_back(self._next)
        for _ in range(2 if len(self.right) > 1 else 1):
            for vector in self.right:
                product -= dot(product, vector)[:, None] * vector
        unit, alpha = normalize(product)
        self.right.append(unit)
        self._alphas.append(alpha * scales)

    def apply(self) -> None:
        """Takes the next β and u from R v = α u_j + β u."""
        product = self._operator.apply(self.right[-1])
        scale = self._alphas[-1]
        for index, vector in enumerate(self.left):
            part = dot(product, vector)
            known = scale if index == len(self.left) - 1 else 0.0
            self.rounding = tf.maximum(self.rounding, tf.abs(part - known))
            product -= part[:, None] * vector
        for vector in self.left:
            product -= dot(product, vector)[:, None] * vector
        unit, beta = normalize(product)
        # Breakdown: the space is invariant, and what is left is rounding.
        is_broken = beta <= self._operator.precision * scale
        self._betas.append(tf.where(is_broken, tf.zeros_like(beta), beta))
        # Go on in a fresh direction, uncoupled.
        batch_size, stream = self._operator.batch_size, len(self._betas)
        fresh = random_unit_vector(self._operator.factor_dim, batch_size, self._seed, stream)
        fresh = orthogonalize(fresh[:, None], tf.stack(self.left, axis=1))[:, 0]
        self._next = tf.where(is_broken[:, None], normalize(fresh)[0], unit)

    def factor(self) -> Tensor:
        """Returns B (batch, number of u, number of v), lower bidiagonal."""
        if len(self._betas) == len(self._alphas):
            self.left.append(self._next)
        zeros = tf.zeros_like(self._alphas[0])
        rows = []
        for i in range(len(self.left)):
            row = [zeros] * len(self.right)
            if i < len(self._alphas):
                row[i] = self._alphas[i]
            if i > 0:
                row[i - 1] = self._betas[i - 1]
            rows.append(tf.stack(row, axis=-1))
        return tf.stack(rows, axis=1)


def _inner(factor: Tensor) -> Tensor:
    """Returns BᵀB."""
    return tf.matmul(factor, factor, transpose_a=True)


def _outer(factor: Tensor) -> Tensor:
    """Returns B Bᵀ."""
    return tf.matmul(factor, factor, transpose_b=True)


def _combine(coefficients: Tensor, vectors: list[Tensor]) -> Tensor:
    """Returns (batch, dim) the combination of these vectors by coefficients (batch, 1, count)."""
    coefficients = tf.cast(coefficients, vectors[0].dtype)
    terms = [coefficients[:, 0, index, None] * vector for index, vector in enumerate(vectors)]
    return tf.add_n(terms)
