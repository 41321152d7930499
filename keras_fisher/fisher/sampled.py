"""A solver on the paper's Monte Carlo estimate."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from keras_fisher.checks import check_integer, message
from keras_fisher.fisher.likelihoods import Categorical, SampledCategorical
from keras_fisher.fisher.pullback_operator import PullbackOperator
from keras_fisher.linalg import Eigenpairs, Eigensolver
from keras_fisher.linalg.vectors import divide_or_zero, norm
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class Sampled(Eigensolver):
    """An ordinary solver on a sampled likelihood: the FIM estimated from classes drawn by the alias method.

    The residual and `converged` of the answer are measured against the *true* FIM, so that a bad estimate
    says so; that costs two passes an eigenpair on top. For softmax outputs only.

    Args:
        solver: an object of `kf.solvers`. Finds the eigenpairs of the estimate.
        num_samples: int or None. Draws for an image; None is a fifth of the classes, at least two (the
            paper's choice).

    Source: Zhao et al. 2019, Table 1, "Alias + Lanczos" and "Alias + power iteration".
    """

    solver: Eigensolver
    num_samples: int | None = None

    needs_factor: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.solver, Eigensolver) or isinstance(self.solver, Sampled):
            raise TypeError(message("solver", "be an object of kf.solvers", type(self.solver).__name__))
        if self.num_samples is not None:
            check_integer("num_samples", self.num_samples, 1)

    @property
    def tolerance(self) -> float:
        """Of the solver."""
        return getattr(self.solver, "tolerance", 1e-4)

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        return self.solver.num_vectors(num_eigenpairs, rank_bound)

    def num_copies(self, num_eigenpairs: int, rank_bound: int) -> int:
        return self.solver.num_copies(num_eigenpairs, rank_bound)

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        return self.solver.default_num_eigenpairs(rank_bound)

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        return self.solver.max_num_eigenpairs(rank_bound)

    def solve(
        self,
        operator: PullbackOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        if not isinstance(operator.likelihood, Categorical):
            rule = "be over classes for a solver that draws them"
            raise TypeError(message("likelihood", rule, repr(operator.likelihood), 'Use solver="lanczos".'))
        estimate = operator.with_likelihood(SampledCategorical(self.num_samples, seed))
        pairs = self.solver.solve(estimate, num_eigenpairs, eigenvectors=True, seed=seed)
        scale = tf.exp(operator.log_scale)[:, None]
        vectors: Tensor = pairs.eigenvectors
        residuals = []
        for index in range(num_eigenpairs):
            vector = tf.cast(vectors[:, index], tf.float64)
            image = operator.matvec(vector).image * scale
            residuals.append(norm(image - pairs.eigenvalues[:, index, None] * vector))
        absolute = tf.stack(residuals, axis=1)
        # An estimate of zero for a matrix that is not has no relative error: it is as wrong as can be.
        top = pairs.eigenvalues[:, :1]
        largest = tf.fill(tf.shape(absolute), tf.constant(1e300, tf.float64))
        relative = tf.where((top == 0) & (absolute > 0), largest, divide_or_zero(absolute, top))
        accurate = tf.reduce_all(absolute <= self.tolerance * pairs.eigenvalues, axis=-1)
        return pairs._replace(
            eigenvectors=pairs.eigenvectors if eigenvectors else None,
            # Of the draws, which the caller does not know.
            left_vectors=None,
            residual_norms=relative,
            converged=pairs.converged & accurate,
            num_products=pairs.num_products + 2 * num_eigenpairs,
        )
