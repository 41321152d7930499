"""One of several classes: softmax."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from keras_fisher.checks import check_real
from keras_fisher.classifiers.class_odds import class_odds
from keras_fisher.fisher.likelihoods.likelihood import Likelihood, OutputMetric
from keras_fisher.linalg.operators import DEFAULT_LEAST_DIMENSION
from keras_fisher.linalg.vectors import normalize
from keras_fisher.typing import Tensor

#: How sure the classifier is decides how far the gradient of its top class is trusted as a start. By 1 − p:
#: below 0.5 that class is in every likely contrast; above 0.75 the top eigenvector may well be a contrast
#: among others, to which that gradient is orthogonal.
_UNSURE, _AT_A_LOSS = 0.5, 0.75
#: The norm of a random part of the start over that of the gradient.
_NOISE, _NOISE_AT_A_LOSS = 0.3, 1.0
#: By how much, relatively, the weights of the classes in the gradient are off.
_UNEVEN = 0.05
#: The vectors before which one pair is believed.
_LEAST_IF_SURE, _LEAST_IF_UNSURE = 2, 4


class _CategoricalMetric(OutputMetric):
    """diag p − p pᵀ = s · L Lᵀ, split at the top class t: s = 1 − p_t and q_j = p_j / s for j ≠ t.

    Lᵀ w = √p/√s ⊙ (w − pᵀw). With w taken relative to the top class (w_t = 0) the mean is pᵀw = s qᵀw and
        (Lᵀ w)_j = √q_j (w_j − s qᵀw),      (Lᵀ w)_t = −√(p_t s) qᵀw,
    which holds its relative accuracy for any s.

    Args:
        logits: (batch, classes) float64, of p.
        top: (batch,) int32 t, a class of the largest logit.
        log_factor: ln of what the matrix is multiplied by.
    """

    def __init__(self, logits: Tensor, top: Tensor, log_factor: float) -> None:
        self._top = top
        odds = class_odds(logits, self._top)
        self.log_scale = odds.log_rest + log_factor
        self._is_top = odds.is_class
        self._rest = odds.rest  # q
        # Where q is zero, as at the top class, the square root has no derivative: it is not to be asked for.
        is_positive = odds.rest > 0
        roots = tf.sqrt(tf.where(is_positive, odds.rest, tf.ones_like(odds.rest)))
        self._root_rest = tf.where(is_positive, roots, tf.zeros_like(roots))
        self._s = tf.exp(odds.log_rest)[:, None]
        self._root_top = tf.exp(0.5 * (odds.log_probability + odds.log_rest))[:, None]  # √(p_t s)
        self._root_p_top = tf.exp(0.5 * odds.log_probability)[:, None]

    def apply_transpose(self, vectors: Tensor) -> Tensor:
        relative = vectors - tf.reduce_sum(vectors * self._is_top, axis=-1, keepdims=True)  # w − w_t
        mean = tf.reduce_sum(self._rest * relative, axis=-1, keepdims=True)  # qᵀw
        return self._root_rest * (relative - self._s * mean) - self._is_top * self._root_top * mean

    def apply(self, vectors: Tensor) -> Tensor:
        top = tf.reduce_sum(vectors * self._is_top, axis=-1, keepdims=True)
        total = tf.reduce_sum(self._root_rest * vectors, axis=-1, keepdims=True)
        others = self._root_rest * vectors - self._rest * (self._s * total + self._root_top * top)
        # The columns of L sum to zero over the classes: the top entry is minus the others, not a difference.
        return others - self._is_top * tf.reduce_sum(others, axis=-1, keepdims=True)

    def start(self, seed: Tensor | int = 0) -> Tensor:
        gradient = self._top_loss()
        noise_of_classes = tf.random.stateless_normal([self._rest.shape[1]], seed=[seed, 0], dtype=tf.float64)
        # Without its part along √p, which Lᵀ sends to zero: it would be carried along for nothing.
        root_p = self._root_p()
        noise = noise_of_classes * root_p
        noise -= root_p * tf.reduce_sum(root_p * noise, axis=-1, keepdims=True)
        amount = tf.where(
            self._s < _AT_A_LOSS, tf.constant(_NOISE, tf.float64), tf.constant(_NOISE_AT_A_LOSS, tf.float64)
        )
        with_noise = gradient + amount * noise
        # Where two runners-up are as probable and their gradients opposite, as at a mirrored image, nothing
        # of their contrast is in the gradient: weights that are a little off see it.
        uneven = gradient * noise_of_classes
        uneven -= root_p * tf.reduce_sum(root_p * uneven, axis=-1, keepdims=True)
        start = tf.where(self._s < _UNSURE, gradient + _UNEVEN * uneven, with_noise)
        return normalize(start)[0]

    def further_starts(self, count: int) -> Tensor:
        # √p_c √p − e_c of the classes after the top one: their images are along ∇ log p_c.
        classes = tf.math.top_k(self._rest, count).indices
        chosen = tf.one_hot(classes, self._rest.shape[1], dtype=tf.float64)
        root_p = self._root_p()[:, None]
        return tf.reduce_sum(root_p * chosen, axis=-1, keepdims=True) * root_p - chosen

    def start_at(self, classes: Tensor) -> Tensor:
        is_class = tf.one_hot(classes, self._rest.shape[1], dtype=tf.float64)
        root_p = self._root_p()
        of_class = tf.reduce_sum(root_p * is_class, axis=-1, keepdims=True)  # √p_c
        is_top = tf.reduce_sum(is_class * self._is_top, axis=-1, keepdims=True) > 0
        # √p_c √p − e_c: its image Rᵀu is √p_c ∇(−log p_c).
        return normalize(tf.where(is_top, self._top_loss(), of_class * root_p - is_class))[0]

    def _top_loss(self) -> Tensor:
        """Returns (√p_t √p − e_t) / √s, t the top class, without cancellation: Rᵀu is along ∇(−log p_t)."""
        return self._root_p_top * self._root_rest - self._is_top * tf.sqrt(self._s)

    def _root_p(self) -> Tensor:
        return tf.sqrt(self._s) * self._root_rest + self._is_top * self._root_p_top

    def least_dimension(self) -> Tensor:
        rest = self._s[:, 0]
        least = tf.where(rest < _AT_A_LOSS, _LEAST_IF_UNSURE, DEFAULT_LEAST_DIMENSION)
        return tf.where(rest < _UNSURE, _LEAST_IF_SURE, least)

    def basis(self) -> tuple[Tensor, Tensor]:
        num_classes = self._rest.shape[1]
        # The classes but the top one, in order: E = e_j − e_t, one row each.
        index = tf.range(num_classes - 1)[None, :]
        others = index + tf.cast(index >= self._top[:, None], tf.int32)
        is_other = tf.one_hot(others, num_classes, dtype=tf.float64)  # (batch, C − 1, C)
        rest = tf.gather(self._rest, others, batch_dims=1)[:, None, :]  # q_j, (batch, 1, C − 1)
        # Lᵀ on the basis: row i is √q_i (δ_ij − s q_j), the top row −√(p_t s) q_j.
        mixing = self._root_rest[..., None] * (
            tf.linalg.matrix_transpose(is_other) - self._s[..., None] * rest
        )
        mixing -= self._is_top[..., None] * self._root_top[..., None] * rest
        return mixing, is_other - self._is_top[:, None, :]


@dataclasses.dataclass(frozen=True)
class Categorical(Likelihood):
    """y is one of C classes with p = softmax(z / T); M = (diag p − p pᵀ) / T², of rank C − 1.

    Args:
        temperature: T > 0. Above one, less probable classes count for more. Infinity is the limit of T² M:
            p is uniform, M = (I − 11ᵀ/C) / C, and Jᵀ M J the sum over classes of squared gradients of the
            centred logits, J Jᵀ without p.

    Source: Zhao et al. 2019, Eq. (4), which has T = 1.
    """

    temperature: float = 1.0

    output_activation = "softmax"

    def __post_init__(self) -> None:
        if self.temperature != math.inf:
            check_real("temperature", self.temperature, 0.0, exclusive_minimum=True)

    def metric(self, parameters: Tensor) -> OutputMetric:
        # Of z itself: divided by T, logits may come out level, and a spectrum at another T needs other rows.
        top = tf.argmax(parameters, axis=-1, output_type=tf.int32)
        if self.temperature == math.inf:
            return _CategoricalMetric(tf.zeros_like(parameters), top, 0.0)
        return _CategoricalMetric(parameters / self.temperature, top, -2.0 * math.log(self.temperature))

    def rank_bound(self, num_outputs: int) -> int:
        return num_outputs - 1
