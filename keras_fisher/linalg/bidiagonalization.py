"""The step of Golub–Kahan bidiagonalisation."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from keras_fisher.linalg.eigensolver import random_unit_vector
from keras_fisher.linalg.operator import FactoredOperator, normalize, orthogonalize
from keras_fisher.typing import Tensor


class Krylov(NamedTuple):
    """R V = U B for the matrices still at work, after j steps; B is lower bidiagonal, β below α."""

    indices: Tensor  # (active,) int32, which matrices these are
    left: Tensor  # (active, j, factor_dim), rows u₀ … u_{j−1}
    right: Tensor  # (active, j, dim), rows v₀ … v_{j−1}
    alpha: Tensor  # (active, j)
    beta: Tensor  # (active, j); β_j couples v_{j−1} and u_j, β₀ = 0


def no_steps(operator: FactoredOperator) -> Krylov:
    """Returns the space before the first step."""
    batch_size = operator.batch_size
    nothing = tf.zeros(tf.stack([batch_size, 0]), tf.float64)
    return Krylov(
        tf.range(batch_size),
        tf.zeros(tf.stack([batch_size, 0, operator.factor_dim]), tf.float64),
        tf.zeros(tf.stack([batch_size, 0, operator.dim]), tf.float64),
        nothing,
        nothing,
    )


def bidiagonalize(
    operator: FactoredOperator, step: Tensor | int, krylov: Krylov, seed: Tensor | int
) -> Krylov:
    """Returns the space with one more step.

    β_j u_j = R v_{j−1} − α_{j−1} u_{j−1}, then α_j v_j = Rᵀ u_j − β_j v_{j−1}.

    Args:
        operator: prepared.
        step: j, a tensor, or a number where the steps are unrolled.
        krylov: after j steps.
        seed: of the direction to go on in where the space is invariant.
    """

    def first() -> tuple[Tensor, Tensor]:
        vector = operator.start()
        return vector, tf.zeros_like(vector[:, 0])

    def following() -> tuple[Tensor, Tensor]:
        image = operator.apply(krylov.right[:, -1])
        remainder, beta = normalize(orthogonalize(image, krylov.left))
        # Breakdown: the space is invariant. Go on in a fresh direction, uncoupled, β = 0.
        broken = beta <= operator.precision * tf.reduce_max(krylov.alpha, axis=-1)
        fresh = random_unit_vector(operator.factor_dim, operator.batch_size, seed, step)
        fresh, _ = normalize(orthogonalize(fresh, krylov.left))
        return tf.where(broken[:, None], fresh, remainder), tf.where(broken, tf.zeros_like(beta), beta)

    if isinstance(step, int):
        vector, beta = following() if step else first()
    else:
        vector, beta = tf.cond(step > 0, following, first)
    product, alpha = normalize(orthogonalize(operator.apply_transpose(vector), krylov.right))
    return krylov._replace(
        left=tf.concat([krylov.left, vector[:, None]], axis=1),
        right=tf.concat([krylov.right, product[:, None]], axis=1),
        alpha=tf.concat([krylov.alpha, alpha[:, None]], axis=1),
        beta=tf.concat([krylov.beta, beta[:, None]], axis=1),
    )
