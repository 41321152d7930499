"""What features read of a batch of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_fisher.attacks.image_ops import where_image
from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers import Target
from keras_fisher.classifiers.class_odds import ClassOdds, class_odds
from keras_fisher.fisher import PullbackOperator
from keras_fisher.fisher.likelihoods import Categorical
from keras_fisher.fisher.solvers import Solver, choose_num_eigenpairs
from keras_fisher.linalg import Gram
from keras_fisher.linalg.vectors import leading_eigenpairs, nan_unless
from keras_fisher.typing import Tensor

#: ln 1e-100, what an exact zero counts as, since its logarithm is −∞. Far below what a trained net gives (λ₉
#: of MNIST images goes down to e⁻⁷⁴), near enough that one zero in a column does not ruin its variance.
LOG_FLOOR = math.log(1e-100)


class ImageView:
    """A batch of images as the classifier sees it: what features ask for is computed once and shared.

    For use inside a `tf.function`. All tensors that it gives are float64 and differentiable in the images;
    what cannot be computed, because the network overflows, is NaN.

    Args:
        target: images → logits (batch, classes).
        images: (batch, *image_shape), all sides but the batch known.
        solver: of the spectrum at temperature one.
        seed: of solvers that start at random.
    """

    @suggests_keywords
    def __init__(
        self,
        target: Target,
        images: Tensor,
        solver: Solver,
        seed: Tensor | int = 0,
    ) -> None:
        self.images = images
        self.num_classes = target.num_classes
        self.num_pixels = int(tf.TensorShape(images.shape[1:]).num_elements())
        self._target = target
        self._solver = solver
        self._seed = seed
        self._shared: dict[Any, Any] = {}

    @property
    def rank_bound(self) -> int:
        """The most eigenvalues that can differ from zero."""
        return min(self.num_classes - 1, self.num_pixels)

    @property
    def logits(self) -> Tensor:
        """(batch, C)."""
        return self._once("logits", lambda: tf.cast(self._operator().outputs, tf.float64))

    @property
    def odds(self) -> ClassOdds:
        """Softmax seen from the most probable class, exact where it saturates."""
        return self._once("odds", lambda: class_odds(self.logits, tf.argmax(self.logits, axis=-1)))

    @property
    def log_probabilities(self) -> Tensor:
        """(batch, C) log softmax."""
        below_top = self.logits - tf.reduce_max(self.logits, axis=-1, keepdims=True)
        return below_top + self.odds.log_probability[:, None]

    @property
    def class_gram(self) -> Tensor:
        """(batch, C − 1, C − 1) E J Jᵀ Eᵀ, inner products of the gradients of z_j − z_top for j ≠ top.

        C − 1 backward passes. Every spectrum, at any temperature, is small algebra on it.
        """

        def compute() -> Tensor:
            rows = tf.cast(self._operator().rows()[1], tf.float64)
            return tf.matmul(rows, rows, transpose_b=True)

        return self._once("class_gram", compute)

    def log_eigenvalues(self, temperature: float = 1.0, count: int | None = None) -> Tensor:
        """Returns (batch, count) natural log of the largest eigenvalues, descending, at least `LOG_FLOOR`.

        Args:
            temperature: of the softmax, see `Categorical`. At one the solver is used for a given count; all
                else is exact, from `class_gram`.
            count: at most `rank_bound`, which None means.
        """
        if temperature == 1.0 and count is not None and not isinstance(self._solver, Gram):
            return self._once(("solved", count), lambda: self._solve(count))
        return self._once(("spectrum", temperature), lambda: self._exact(temperature))[:, :count]

    @property
    def converged(self) -> Tensor:
        """(batch,) bool: whether the solver says so of every spectrum that was asked for up to now."""
        batch_size = tf.shape(self.images)[0]
        views = [self, *(view for key, view in self._shared.items() if isinstance(view, ImageView))]
        claims = [claim for view in views for claim in view._shared.get("claims", [])]
        return tf.reduce_all(tf.stack([tf.fill([batch_size], True), *claims]), axis=0)

    def blurred(self, sigma: float) -> ImageView:
        """Returns the view of the images after a Gaussian blur.

        Args:
            sigma: standard deviation in pixels, of a window of 3 × 3; what is beyond the border mirrors what
                is before it. Blurred pixels stay within the bounds.
        """

        def compute() -> ImageView:
            images = blur(self.images, sigma)
            return ImageView(self._target, images, self._solver, self._seed)

        return self._once(("blurred", sigma), compute)

    def _once(self, key: Any, compute: Callable[[], Any]) -> Any:
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    def _operator(self) -> PullbackOperator:
        def compute() -> PullbackOperator:
            return PullbackOperator(self._target, self.images)

        return self._once("operator", compute)

    def _exact(self, temperature: float) -> Tensor:
        metric = Categorical(temperature).metric(self.logits)
        mixing, _ = metric.basis()  # of the same rows at every temperature
        gram = tf.matmul(mixing, tf.matmul(self.class_gram, mixing, transpose_b=True))
        # A decomposition of NaN fails for the whole batch: the image alone is to have no eigenvalues.
        is_finite = tf.reduce_all(tf.math.is_finite(gram), axis=[1, 2])
        gram = tf.where(is_finite[:, None, None], gram, tf.zeros_like(gram))
        eigenvalues, left = leading_eigenpairs(gram, self.rank_bound)
        # dλ = uᵀ dA u: the derivative of an eigenvector, which equal eigenvalues do not have, is not needed.
        left = tf.stop_gradient(left)
        quotients = tf.reduce_sum(left * tf.matmul(left, gram), axis=-1)
        eigenvalues = tf.stop_gradient(eigenvalues) + (quotients - tf.stop_gradient(quotients))
        logs = _floored_log(eigenvalues, metric.log_scale)
        return nan_unless(is_finite, logs)

    def _solve(self, count: int) -> Tensor:
        likelihood = Categorical()
        k = choose_num_eigenpairs(self._solver, count, likelihood, self.num_classes, self.num_pixels)
        # A decomposition of NaN fails for the whole batch: an image that overflows is left out.
        is_finite = tf.reduce_all(tf.math.is_finite(self.logits), axis=-1)
        images = where_image(is_finite, self.images, tf.zeros_like(self.images))
        operator = PullbackOperator(self._target, images, likelihood)
        pairs = self._solver.solve(operator, k, eigenvectors=False, seed=self._seed)
        self._shared.setdefault("claims", []).append(pairs.converged | ~is_finite)
        logs = _floored_log(pairs.eigenvalues, pairs.log_scale)
        return nan_unless(is_finite, logs)


def check_blurred_shape(image_shape: tuple[int | None, ...]) -> None:
    """Raises a ValueError unless images have height, width and channels."""
    if len(image_shape) != 3:
        remedy = 'Take features without a blur, such as features="paper".'
        raise ValueError(message("classifier", "take images (h, w, c), to be blurred", image_shape, remedy))


def blur(images: Tensor, sigma: float) -> Tensor:
    """Returns the images (batch, h, w, c) under a 3 × 3 Gaussian of standard deviation `sigma` pixels."""
    side = math.exp(-0.5 / sigma**2)
    weights = [part / (1 + 2 * side) for part in (side, 1.0, side)]
    _, height, width, _ = images.shape
    padded = tf.pad(images, [[0, 0], [1, 1], [0, 0], [0, 0]], "SYMMETRIC")
    images = tf.add_n([weight * padded[:, shift : shift + height] for shift, weight in enumerate(weights)])
    padded = tf.pad(images, [[0, 0], [0, 0], [1, 1], [0, 0]], "SYMMETRIC")
    return tf.add_n([weight * padded[:, :, shift : shift + width] for shift, weight in enumerate(weights)])


def _floored_log(eigenvalues: Tensor, log_scale: Tensor) -> Tensor:
    """Returns ln(e^log_scale · λ), at least `LOG_FLOOR`; its derivative is zero where that is reached."""
    is_positive = eigenvalues > 0
    logs = tf.math.log(tf.where(is_positive, eigenvalues, tf.ones_like(eigenvalues))) + log_scale[:, None]
    floor = tf.constant(LOG_FLOOR, tf.float64)
    return tf.where(is_positive, tf.maximum(logs, floor), floor)
