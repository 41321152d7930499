"""The Monte Carlo estimate of the paper's Algorithm 1."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.checks import check_integer
from keras_fisher.classifiers.class_odds import ClassOdds, class_odds
from keras_fisher.fisher.alias_table import AliasTable
from keras_fisher.fisher.likelihoods.likelihood import Likelihood, OutputMetric
from keras_fisher.typing import Tensor


class _SampledMetric(OutputMetric):
    """(1/S) Σ e_s e_sᵀ with the scores e_s = ∂ log p(y_s)/∂z = one-hot(y_s) − p of S drawn classes.

    Its mean is diag p − p pᵀ. The class with the largest probability is written 1 − p = Σ of the others.
    """

    def __init__(self, odds: ClassOdds, draws: Tensor) -> None:
        num_classes, num_samples = odds.rest.shape[1], draws.shape[1]
        self.log_scale = tf.zeros_like(odds.log_rest)
        rest = tf.exp(odds.log_rest)[:, None] * odds.rest  # p_j, j ≠ t
        drawn = tf.one_hot(draws, num_classes, dtype=tf.float64)  # (batch, S, C)
        is_top = odds.is_class[:, None, :]
        others = (drawn - rest[:, None, :]) * (1.0 - is_top)
        top = -tf.reduce_sum(others, axis=-1, keepdims=True)
        self._scores = (others + is_top * top) / num_samples**0.5
        # What is differentiated: the draws, or all classes if these are fewer.
        self._draws_are_fewer = num_samples < num_classes

    def apply(self, vectors: Tensor) -> Tensor:
        return tf.linalg.matvec(self._scores, vectors, transpose_a=True)

    def apply_transpose(self, vectors: Tensor) -> Tensor:
        return tf.linalg.matvec(self._scores, vectors)

    def start(self, seed: Tensor | int = 0) -> Tensor:
        return self._longest(1)[:, 0]

    def further_starts(self, count: int) -> Tensor:
        return self._longest(count + 1)[:, 1:]

    def _longest(self, count: int) -> Tensor:
        """Returns (batch, count, S): the draws of the longest scores."""
        lengths = tf.reduce_sum(tf.square(self._scores), axis=-1)
        return tf.one_hot(tf.math.top_k(lengths, count).indices, self._scores.shape[1], dtype=tf.float64)

    def basis(self) -> tuple[Tensor, Tensor]:
        if self._draws_are_fewer:
            count = self._scores.shape[1]
            return tf.eye(count, batch_shape=[tf.shape(self._scores)[0]], dtype=tf.float64), self._scores
        classes = self._scores.shape[2]
        return self._scores, tf.eye(classes, batch_shape=[tf.shape(self._scores)[0]], dtype=tf.float64)


@dataclasses.dataclass(frozen=True)
class SampledCategorical(Likelihood):
    """Softmax, with the expectation over classes replaced by a mean over draws from the alias table.

    The paper's, and here because the paper has it: the mass of λ₁ sits in classes of tiny probability, which
    are never drawn when the classifier is sure. The draws are made once for an image, not anew in each
    iteration (Algorithm 1, line 4), so that the iteration has something to converge to. All draws share one
    double backward and one backward pass, where the paper takes a gradient for each.

    Args:
        num_samples: S, draws for an image; None is a fifth of the classes, at least two (the paper's choice).
        seed: of the draws.

    Source: Zhao et al. 2019, section 3.2 and Algorithm 1.
    """

    num_samples: int | None = None
    seed: int = 0

    output_activation = "softmax"

    def __post_init__(self) -> None:
        if self.num_samples is not None:
            check_integer("num_samples", self.num_samples, 1)

    def metric(self, parameters: Tensor) -> OutputMetric:
        top = tf.argmax(parameters, axis=-1, output_type=tf.int32)
        odds = class_odds(parameters, top)
        table = AliasTable(tf.nn.softmax(parameters))
        return _SampledMetric(odds, table.draw(self.factor_dim(parameters.shape[1]), self.seed))

    def factor_dim(self, num_outputs: int) -> int:
        return self.num_samples or max(2, round(num_outputs / 5))

    def rank_bound(self, num_outputs: int) -> int:
        return min(self.factor_dim(num_outputs), num_outputs - 1)
