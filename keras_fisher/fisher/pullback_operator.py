"""The Fisher information in the input, as an operator."""

from __future__ import annotations

import tensorflow as tf

from keras_fisher.classifiers import Target
from keras_fisher.fisher.likelihoods import Categorical, Likelihood
from keras_fisher.linalg.operator import FactoredOperator, normalize
from keras_fisher.typing import Tensor

#: Class directions whose backward passes are laid out side by side in the graph; more go through a loop.
_MAX_UNROLLED = 32
#: Of a float32 forward and backward pass, relative.
_SINGLE_PRECISION = 2e-6


class PullbackOperator(FactoredOperator):
    """G = e^log_scale · RᵀR with R = Lᵀ J: the metric of the output pulled back to the input.

    J = ∂z/∂x (outputs × pixels) is never held; it costs passes through the network:
        Jᵀ w   one backward pass,
        J v    one *double* backward pass: Jᵀw is linear in w, and its derivative along v is J v. The forward
               pass is not repeated, which forward-mode accumulation would have to.
    Passes run in the precision of the model, on vectors scaled to unit norm; everything else is float64.
    The scale is left out of the operator, so that a classifier sure to 1e-300 is no special case.

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
        self._focus = focus
        self._target = target
        self._images = images
        self._likelihood = likelihood
        self._num_outputs = target.num_classes
        self._dim = int(tf.TensorShape(images.shape[1:]).num_elements())
        self._tape: Tensor = None  # set by `prepare`, with what follows from it
        self._memo: Tensor = None  # set by `recall`

    def prepare(self, block_size: int = 1) -> None:
        # Each image once for each vector of a block: one pass of a larger batch is quicker than many passes.
        self._points = tf.repeat(self._images, block_size, axis=0) if block_size > 1 else self._images
        # A tape that watches variables too makes gradients of all of them, a third of the time of tracing.
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(self._points)
            self._values = self._target.logits(self._points)
        self._tape = tape
        values = tf.cast(self._values, tf.float64)
        self._outputs = values[::block_size] if block_size > 1 else values
        self._metric = self._likelihood.metric(self._outputs)
        self._each_metric = self._likelihood.metric(values) if block_size > 1 else self._metric

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def factor_dim(self) -> int:
        return self._likelihood.factor_dim(self._num_outputs)

    @property
    def rank_bound(self) -> int:
        return min(self._likelihood.rank_bound(self._num_outputs), self._dim)

    @property
    def batch_size(self) -> Tensor:
        return tf.shape(self._images)[0]

    @property
    def precision(self) -> float:
        return 1e-14 if self._images.dtype == tf.float64 else _SINGLE_PRECISION

    @property
    def log_scale(self) -> Tensor:
        return self._metric.log_scale

    @property
    def memo_size(self) -> int:
        return self._num_outputs

    def memo(self) -> Tensor:
        return self._outputs

    def recall(self, memo: Tensor) -> None:
        self._memo = memo

    @property
    def outputs(self) -> Tensor:
        """The outputs z (batch, outputs), float64, of the forward pass that `prepare` or GolubKahan made."""
        return self.memo() if self._memo is None else self._memo

    def start(self) -> Tensor:
        return self._metric.start() if self._focus is None else self._metric.start_at(self._focus)

    def further_starts(self, count: int) -> Tensor:
        return self._metric.further_starts(count)

    def least_dimension(self) -> Tensor:
        return self._metric.least_dimension() if self._focus is None else tf.constant(1)

    def apply(self, vectors: Tensor) -> Tensor:
        directions, norms = normalize(vectors)
        tangents = self._push_forward(directions)  # v → J v
        return self._each_metric.apply_transpose(tangents) * norms[:, None]  # J v → Lᵀ J v

    def apply_transpose(self, vectors: Tensor) -> Tensor:
        cotangents, norms = normalize(self._each_metric.apply(vectors))  # u → L u
        return self._pull_back(cotangents) * norms[:, None]  # L u → Jᵀ L u

    def apply_each(self, blocks: Tensor) -> Tensor:
        images = self.apply(tf.reshape(blocks, [-1, self._dim]))
        return tf.reshape(images, [-1, blocks.shape[1], self.factor_dim])

    def apply_transpose_each(self, blocks: Tensor) -> Tensor:
        images = self.apply_transpose(tf.reshape(blocks, [-1, self.factor_dim]))
        return tf.reshape(images, [-1, blocks.shape[1], self._dim])

    def rows(self) -> tuple[Tensor, Tensor]:
        mixing, basis = self._metric.basis()
        if basis.shape[1] <= _MAX_UNROLLED:
            # Unrolled passes share the one forward pass and run side by side.
            rows = tf.stack([self._pull_back(basis[:, index]) for index in range(basis.shape[1])], axis=1)
        else:
            # As they come, in the precision of the passes: there may be a thousand rows.
            dtype = self._images.dtype
            rows = tf.map_fn(
                lambda cotangents: tf.cast(self._pull_back(cotangents), dtype),
                tf.transpose(basis, [1, 0, 2]),
                parallel_iterations=2,
                fn_output_signature=dtype,
            )
            rows = tf.transpose(tf.ensure_shape(rows, [basis.shape[1], None, self._dim]), [1, 0, 2])
        return mixing, rows

    def restrict(self, indices: Tensor) -> PullbackOperator:
        # The new operator pays its own forward pass, over the images that are left.
        images = tf.gather(self._images, indices)
        focus = None if self._focus is None else tf.gather(self._focus, indices)
        return PullbackOperator(self._target, images, self._likelihood, focus)

    def _pull_back(self, cotangents: Tensor) -> Tensor:
        """Returns Jᵀ w: (batch, dim) float64 for (batch, outputs) float64."""
        gradient = self._tape.gradient(
            self._values,
            self._points,
            output_gradients=tf.cast(cotangents, self._values.dtype),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return tf.cast(tf.reshape(gradient, [-1, self._dim]), tf.float64)

    def _push_forward(self, tangents: Tensor) -> Tensor:
        """Returns J v: (batch, outputs) float64 for (batch, dim) float64."""
        # Jᵀw is linear in w, so that its derivative does not depend on where w stands: zero will do.
        cotangents = tf.zeros_like(self._values)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(cotangents)
            gradient = self._tape.gradient(
                self._values,
                self._points,
                output_gradients=cotangents,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
        product = tape.gradient(
            gradient,
            cotangents,
            output_gradients=tf.reshape(tf.cast(tangents, self._points.dtype), tf.shape(self._points)),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return tf.ensure_shape(tf.cast(product, tf.float64), [None, self._num_outputs])
