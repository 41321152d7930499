"""What turns the output of a network into a distribution."""

from __future__ import annotations

import abc

import tensorflow as tf

from keras_fisher.checks import Settings
from keras_fisher.linalg.operators import DEFAULT_LEAST_DIMENSION
from keras_fisher.typing import Tensor


class OutputMetric(abc.ABC):
    """The Fisher information of a distribution in its own parameters, M = e^log_scale · L Lᵀ, for a batch.

    For the parameters z (batch, outputs) that a network puts out. The pullback to the input is
    Jᵀ M J with J = ∂z/∂x. All tensors are float64. The scale is kept apart since it may be far
    below the smallest float (a confident classifier), while L and the directions stay of order one.
    """

    #: (batch,) float64
    log_scale: Tensor

    @abc.abstractmethod
    def apply(self, vectors: Tensor) -> Tensor:
        """Returns L u: (batch, outputs) for (batch, factor_dim)."""

    @abc.abstractmethod
    def apply_transpose(self, vectors: Tensor) -> Tensor:
        """Returns Lᵀ w: (batch, factor_dim) for (batch, outputs)."""

    @abc.abstractmethod
    def start(self, seed: Tensor | int = 0) -> Tensor:
        """Returns (batch, factor_dim), unit norm: where Golub–Kahan starts.

        Args:
            seed: of the random part of it, where it has one.
        """

    @abc.abstractmethod
    def further_starts(self, count: int) -> Tensor:
        """Returns (batch, count, factor_dim): directions beside `start` that much may depend on."""

    def start_at(self, classes: Tensor) -> Tensor:
        """Returns (batch, factor_dim), unit norm: a start whose image Rᵀu is along ∇(−log p) of the classes.

        Raises:
            NotImplementedError: a likelihood without classes.
        """
        raise NotImplementedError(f"{type(self).__name__} has no classes to start at.")

    def least_dimension(self) -> Tensor:
        """Returns (batch,) int32, see `FactoredOperator.least_dimension`."""
        return tf.fill(tf.shape(self.log_scale), DEFAULT_LEAST_DIMENSION)

    @abc.abstractmethod
    def basis(self) -> tuple[Tensor, Tensor]:
        """Returns S (batch, factor_dim, q) and E (batch, q, outputs) with Lᵀ = S E.

        E holds the q directions in output space that are differentiated, one backward pass each.
        """


class Likelihood(Settings, abc.ABC):
    """A family of distributions p(y | z) of the parameters z that a network puts out.

    Likelihoods are frozen dataclasses: they compare and hash by their settings.
    """

    #: The activation that a model may end in and that is stripped: "softmax", "sigmoid" or "linear".
    output_activation: str

    @abc.abstractmethod
    def metric(self, parameters: Tensor) -> OutputMetric:
        """Returns the Fisher information in the parameters (batch, outputs) float64."""

    def factor_dim(self, num_outputs: int) -> int:
        """Returns the number of columns of L."""
        return num_outputs

    @abc.abstractmethod
    def rank_bound(self, num_outputs: int) -> int:
        """Returns the largest rank of M."""


class DiagonalMetric(OutputMetric):
    """M = e^log_scale · diag(variances).

    Args:
        variances: (batch, outputs) float64, ≥ 0.
        log_scale: (batch,) float64.
    """

    def __init__(self, variances: Tensor, log_scale: Tensor) -> None:
        self.log_scale = log_scale
        self._roots = tf.sqrt(variances)

    def apply(self, vectors: Tensor) -> Tensor:
        return self._roots * vectors

    def apply_transpose(self, vectors: Tensor) -> Tensor:
        return self._roots * vectors

    def start(self, seed: Tensor | int = 0) -> Tensor:
        return tf.one_hot(tf.argmax(self._roots, axis=-1), self._roots.shape[1], dtype=tf.float64)

    def further_starts(self, count: int) -> Tensor:
        largest = tf.math.top_k(self._roots, count + 1).indices
        return tf.one_hot(largest[:, 1:], self._roots.shape[1], dtype=tf.float64)

    def basis(self) -> tuple[Tensor, Tensor]:
        mixing = tf.linalg.diag(self._roots)
        outputs = tf.eye(self._roots.shape[1], batch_shape=[tf.shape(self._roots)[0]], dtype=tf.float64)
        return mixing, outputs
