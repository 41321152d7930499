"""The Fisher spectrum of a batch, over tensors."""

from __future__ import annotations

import tensorflow as tf

from keras_fisher.classifiers import Target
from keras_fisher.fisher.likelihoods import Likelihood, SampledCategorical
from keras_fisher.fisher.pullback_operator import PullbackOperator
from keras_fisher.fisher.sampled import Sampled
from keras_fisher.fisher.solvers import Solver
from keras_fisher.linalg import Eigenpairs
from keras_fisher.linalg.operator import divide_or_zero, norm
from keras_fisher.typing import Tensor


def fisher_eigenpairs(
    target: Target,
    images: Tensor,
    likelihood: Likelihood,
    solver: Solver,
    num_eigenpairs: int,
    *,
    eigenvectors: bool = True,
    seed: Tensor | int = 0,
) -> Eigenpairs:
    """Returns the leading eigenpairs of the Fisher information of each image. For use inside a `tf.function`.

    Args:
        target: the net, images → z.
        images: (batch, *image_shape), all sides but the batch known.
        likelihood: what z means.
        solver: finds the eigenpairs.
        num_eigenpairs: k, within the rank.
        eigenvectors: whether to form them, (batch, k, pixels).
        seed: of start vectors and draws.
    """
    if isinstance(solver, Sampled):
        return _sampled(target, images, likelihood, solver, num_eigenpairs, seed)
    operator = PullbackOperator(target, images, likelihood)
    return solver.solve(operator, num_eigenpairs, eigenvectors=eigenvectors, seed=seed)


def _sampled(
    target: Target,
    images: Tensor,
    likelihood: Likelihood,
    sampled: Sampled,
    num_eigenpairs: int,
    seed: Tensor | int,
) -> Eigenpairs:
    """Solves for the estimate and measures the answer against the true operator."""
    estimate = PullbackOperator(target, images, SampledCategorical(sampled.num_samples, seed))
    pairs = sampled.solver.solve(estimate, num_eigenpairs, eigenvectors=True, seed=seed)
    truth = PullbackOperator(target, images, likelihood)
    truth.prepare()
    vectors: Tensor = pairs.eigenvectors
    residuals = []
    for index in range(num_eigenpairs):
        vector = vectors[:, index]
        image = truth.matvec(vector) * tf.exp(truth.log_scale)[:, None]
        residuals.append(norm(image - pairs.eigenvalues[:, index, None] * vector))
    absolute = tf.stack(residuals, axis=1)
    # An estimate of zero for a matrix that is not has no relative error: it is infinitely wrong.
    top = pairs.eigenvalues[:, :1]
    infinity = tf.fill(tf.shape(absolute), tf.constant(float("inf"), tf.float64))
    relative = tf.where((top == 0) & (absolute > 0), infinity, divide_or_zero(absolute, top))
    tolerance = getattr(sampled.solver, "tolerance", 1e-4)
    accurate = tf.reduce_all(absolute <= tolerance * pairs.eigenvalues, axis=-1)
    return pairs._replace(
        residual_norms=relative,
        converged=pairs.converged & accurate,
        num_products=pairs.num_products + 2 * num_eigenpairs,
    )
