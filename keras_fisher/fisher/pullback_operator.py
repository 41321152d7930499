"""The Fisher information in the input, as an operator."""

from __future__ import annotations

import tensorflow as tf

from keras_fisher.classifiers import Target
from keras_fisher.fisher.likelihoods import Categorical, Likelihood
from keras_fisher.linalg import FactoredOperator
from keras_fisher.linalg.vectors import normalize
from keras_fisher.typing import Tensor

#: Class directions whose backward passes are laid out side by side in the graph; more go through a loop.
_MAX_UNROLLED = 32


class PullbackOperator(FactoredOperator):
    """G = e^log_scale · RᵀR with R = Lᵀ J: the metric of the output pulled back to the input.

    J = ∂z/∂x (outputs × pixels) is never held; it costs passes through the network:
        Jᵀ w   one backward pass,
        J v    one *double* backward pass: Jᵀw is linear in w, and its derivative along v is J v. The forward
               pass is not repeated, which forward-mode accumulation would have to.
    Passes run in the precision of the model, and so do vectors as long as images; what is as long as there
    are outputs is float64. The scale is left out of the operator, so that a classifier sure to 1e-300 is no
    special case.

    Of a net with an operation that TensorFlow has no second derivative of, R is made in full, by a backward
    pass for each direction in output space, and products are taken with that.

    Args:
        target: the net, images → z (batch, outputs).
        images: (batch, *image_shape).
        likelihood: what z means; gives the metric L Lᵀ in output space.
        focus: (batch,) classes whose gradient a solver starts from, and is content with: None is the most
            probable one, with a random part where that may not do. The eigenvectors of GolubKahan point along
            ∇(−log p) of these classes.

    Source: Zhao et al. 2019, Eq. (4), regrouped: Σ p_i g_i g_iᵀ = Jᵀ (diag p − p pᵀ) J.
    """

    def __init__(
        self,
        target: Target,
        images: Tensor,
        likelihood: Likelihood = Categorical(),  # noqa: B008 - immutable
        focus: Tensor = None,
    ) -> None:
        self._target = target
        self._images = images
        self._focus = focus
        self.dtype = images.dtype
        self._dim = int(tf.TensorShape(images.shape[1:]).num_elements())
        # A tape that watches variables too makes gradients of all of them, a third of the time of tracing.
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            self._values = target.logits(images)
        self._tape = tape
        #: (batch, outputs) float64, z.
        self.outputs = tf.cast(self._values, tf.float64)
        self._set_likelihood(likelihood)

    def _set_likelihood(self, likelihood: Likelihood) -> None:
        self._likelihood = likelihood
        self._metric = likelihood.metric(self.outputs)
        self._rows = self._pull_back_each() if self._target.lacks_second_derivative else None

    def with_likelihood(self, likelihood: Likelihood) -> PullbackOperator:
        """Returns the operator of another likelihood on the same forward pass."""
        other: PullbackOperator = object.__new__(type(self))
        vars(other).update(vars(self))
        other._set_likelihood(likelihood)
        return other

    def with_focus(self, classes: Tensor) -> PullbackOperator:
        """Returns the operator with another focus on the same forward pass."""
        other: PullbackOperator = object.__new__(type(self))
        vars(other).update(vars(self), _focus=classes)
        return other

    @property
    def likelihood(self) -> Likelihood:
        """What z means."""
        return self._likelihood

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def factor_dim(self) -> int:
        return self._likelihood.factor_dim(self._target.num_classes)

    @property
    def rank_bound(self) -> int:
        return min(self._likelihood.rank_bound(self._target.num_classes), self._dim)

    @property
    def batch_size(self) -> Tensor:
        return tf.shape(self._images)[0]

    @property
    def precision(self) -> float:
        return self._target.precision if self.dtype != tf.float64 else min(self._target.precision, 1e-14)

    @property
    def log_scale(self) -> Tensor:
        return self._metric.log_scale

    def start(self, seed: Tensor | int) -> Tensor:
        return self._metric.start(seed) if self._focus is None else self._metric.start_at(self._focus)

    def further_starts(self, count: int) -> Tensor:
        return self._metric.further_starts(count)

    def least_dimension(self) -> Tensor:
        return self._metric.least_dimension() if self._focus is None else tf.constant(1)

    def apply(self, vectors: Tensor) -> Tensor:
        if self._rows is not None:
            mixing, rows = self._rows
            tangents = tf.cast(tf.linalg.matvec(rows, tf.cast(vectors, rows.dtype)), tf.float64)
            return tf.linalg.matvec(mixing, tangents)
        return self._metric.apply_transpose(self._push_forward(vectors))  # v → J v → Lᵀ J v

    def pull_back(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        cotangents, norms = normalize(self._metric.apply(vectors))  # u → L u
        return self._pull_back(cotangents), norms  # L u → Jᵀ L u

    def rows(self) -> tuple[Tensor, Tensor]:
        return self._pull_back_each() if self._rows is None else self._rows

    def restrict(self, indices: Tensor) -> PullbackOperator:
        # The new operator pays its own forward pass, over the images that are left.
        images = tf.ensure_shape(tf.gather(self._images, indices), [None, *self._images.shape[1:]])
        focus = None if self._focus is None else tf.gather(self._focus, indices)
        return PullbackOperator(self._target, images, self._likelihood, focus)

    def _pull_back_each(self) -> tuple[Tensor, Tensor]:
        """Returns S and W, see `rows`: a backward pass for each row of E, Lᵀ = S E."""
        mixing, basis = self._metric.basis()
        if basis.shape[1] <= _MAX_UNROLLED:
            # Unrolled passes share the one forward pass and run side by side.
            rows = tf.stack([self._pull_back(part) for part in tf.unstack(basis, axis=1)], axis=1)
        else:
            rows = tf.map_fn(
                self._pull_back,
                tf.transpose(basis, [1, 0, 2]),
                parallel_iterations=2,
                fn_output_signature=self.dtype,
            )
            rows = tf.transpose(tf.ensure_shape(rows, [basis.shape[1], None, self._dim]), [1, 0, 2])
        return mixing, rows

    def _pull_back(self, cotangents: Tensor) -> Tensor:
        """Returns Jᵀ w: (batch, dim) for (batch, outputs) float64."""
        gradient = self._tape.gradient(
            self._values,
            self._images,
            output_gradients=tf.cast(cotangents, self._values.dtype),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return tf.reshape(gradient, [-1, self._dim])

    def _push_forward(self, tangents: Tensor) -> Tensor:
        """Returns J v: (batch, outputs) float64 for (batch, dim)."""
        # Jᵀw is linear in w, so that its derivative does not depend on where w stands: zero will do.
        cotangents = tf.zeros_like(self._values)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(cotangents)
            gradient = self._tape.gradient(
                self._values,
                self._images,
                output_gradients=cotangents,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
        product = tape.gradient(
            gradient,
            cotangents,
            output_gradients=tf.reshape(tf.cast(tangents, self.dtype), tf.shape(self._images)),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return tf.ensure_shape(tf.cast(product, tf.float64), [None, self._target.num_classes])
