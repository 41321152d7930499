"""Penalties on the Fisher information in the input."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from keras_fisher.attacks import OSSA
from keras_fisher.attacks.image_ops import is_finite, where_image
from keras_fisher.checks import Settings, check_integer, check_option, check_real, message, suggests_keywords
from keras_fisher.classifiers import Classifier, Target, as_classifier
from keras_fisher.fisher import PullbackOperator
from keras_fisher.fisher.solvers import FixedGolubKahan, Solver, choose_solver
from keras_fisher.linalg.vectors import normalize
from keras_fisher.training.training_attack import check_training_solver, default_epsilon
from keras_fisher.typing import Tensor

#: A fourth product leaves a better left vector than the three of an attack.
_QUICK = FixedGolubKahan(num_products=4)

PENALTIES = ("spectral_norm", "trace", "kl")


@dataclasses.dataclass(frozen=True)
class FisherRegularizer(Settings):
    """A penalty on how fast a classifier's prediction changes around its images.

    Differentiable in the weights. With G the Fisher information of the label in the image x, per image:
        "spectral_norm"  λ₁(G): the fastest change of all directions. Its eigenvector is held fixed, which
                         gives the derivative all the same (Hellmann and Feynman). From below: "auto" leaves
                         out some of it where a net is unsure; `solver="exact"` is exact.
        "trace"          tr G: the sum over all directions. In expectation, from one random vector z in class
                         space: E ‖Jᵀ L z‖² = tr(Lᵀ J Jᵀ L) = tr G, with L Lᵀ = diag p − p pᵀ.
        "kl"             KL(p(x) ‖ p(x + η)) with η the OSSA perturbation of norm `epsilon`, held fixed: that
                         of TRADES along OSSA. For small epsilon, and where nothing is clipped to the bounds,
                         it is ½ ε² λ₁.
    An image at which the net has no finite slope, as a square root has none at 0, counts as 0 and moves no
    weight.
    All are added to the loss with one backward pass of its own, which is differentiated ("kl" with a forward
    pass); finding the eigenvector comes before, without derivatives. So does, but for "kl", a gradient that
    shows where slopes are finite.

    In `model.fit`: `kf.callbacks.OSSACallback(fraction=0, regularizer=FisherRegularizer(0.1))`. In a loop of
    your own add it to the loss inside of the tape.

    Args:
        weight: multiplies the mean over the images.
        penalty: one of the three.
        epsilon: of "kl" only. None is 1.5 times the range of the bounds.
        solver: finds the eigenvector, for all but "trace"; "auto" is `kf.solvers.FixedGolubKahan(4)`.
        seed: of the random vectors of "trace".

    Call arguments:
        model: a Classifier, its `target` or a keras.Model, run in inference mode.
        images: (batch, h, w, c), unchecked.
        step: of "trace": numbers the random vectors, to be another one each time.

    Returns:
        A scalar in float64: nats for "kl", else nats per squared unit of the pixels; times the weight.

    Raises:
        TypeError, ValueError: a bad argument; "spectral_norm" or "trace" of a model with an operation that
            TensorFlow has no second derivative of.

    Source: Zhao et al. 2019, Eq. (2) to (5); Zhang et al. 2019, "Theoretically principled trade-off between
    robustness and accuracy", Eq. (5), for the form of "kl"; Hutchinson 1990 for the trace.

    Example:
        >>> import tensorflow as tf, keras_fisher as kf
        >>> images, _ = kf.datasets.mnist_sample()
        >>> net = kf.models.lenet5(weights="mnist")
        >>> with tf.GradientTape() as tape:
        ...     penalty = kf.losses.FisherRegularizer(0.1)(net, images[:8])
        >>> len(tape.gradient(penalty, net.trainable_weights))
        10
    """

    weight: float = 1.0
    penalty: str = "spectral_norm"
    _: dataclasses.KW_ONLY
    epsilon: float | None = None
    solver: str | Solver = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        check_real("weight", self.weight, 0.0, exclusive_minimum=True)
        check_option("penalty", self.penalty, PENALTIES)
        check_integer("seed", self.seed, 0, 2**31 - 1)
        OSSA(self.epsilon)  # checks it, as an attack does
        check_training_solver(self.solver)

    @suggests_keywords
    def __call__(
        self, model: Classifier | Target | keras.Model, images: Tensor, step: Tensor | int = 0
    ) -> Tensor:
        """Returns the weighted mean of the penalty over the images."""
        target = model if isinstance(model, Target) else as_classifier(model).target
        penalties = self.per_image(target, tf.convert_to_tensor(images), step)
        # Of no images, as a replica may get in a last batch: 0.
        count = tf.cast(tf.size(penalties), penalties.dtype)
        return self.weight * tf.math.divide_no_nan(tf.reduce_sum(penalties), count)

    def per_image(self, target: Target, images: Tensor, step: Tensor | int = 0) -> Tensor:
        """Returns the penalty of each image, (batch,) float64, without the weight."""
        random = tf.stack([tf.constant(self.seed), tf.cast(step, tf.int32)])
        if self.penalty == "kl":
            return self._divergence(target, images, random)
        if target.lacks_second_derivative:
            remedy = (
                f"Of {target.lacks_second_derivative} TensorFlow has no second derivative, which this "
                "penalty is trained by. Resize images before the model."
            )
            raise ValueError(message("penalty", 'be "kl" for this model', repr(self.penalty), remedy))
        # An image of an infinite slope is replaced before: its derivatives, times zero, would be NaN.
        is_smooth = _has_finite_gradient(target, images)
        operator = PullbackOperator(target, where_image(is_smooth, images, _grey(target, images)))
        if self.penalty == "trace":
            shape = tf.stack([operator.batch_size, operator.factor_dim])
            signs = tf.random.stateless_uniform(shape, random, 0, 2, tf.int32)
            vectors = tf.cast(2 * signs - 1, tf.float64)
        else:
            vectors = tf.stop_gradient(self._left_vectors(operator, target.num_classes))
        rows = operator.apply_transpose(vectors)  # Jᵀ L u
        penalties = tf.exp(operator.log_scale) * tf.reduce_sum(tf.square(rows), axis=-1)
        return tf.where(is_smooth, penalties, tf.zeros_like(penalties))

    def _left_vectors(self, operator: PullbackOperator, num_classes: int) -> Tensor:
        """Returns u = R v / ‖R v‖ (batch, classes) of the top eigenvector v: λ₁ = ‖Rᵀu‖², R = Lᵀ J."""
        solver = _QUICK if self.solver == "auto" else choose_solver(self.solver, 1, num_classes)
        pairs = solver.solve(operator, 1, seed=self.seed)
        left: Tensor = pairs.left_vectors
        if left is None:
            vectors: Tensor = pairs.eigenvectors
            return normalize(operator.apply(vectors[:, 0]))[0]
        return left[:, 0]

    def _divergence(self, target: Target, images: Tensor, random: Tensor) -> Tensor:
        attack = OSSA(self.epsilon, solver=self.solver)
        length = tf.constant(default_epsilon(attack, target.bounds), tf.float64)
        epsilon = tf.fill([tf.shape(images)[0]], length)
        moved = tf.stop_gradient(attack.perturb(target, images, None, epsilon, random))
        log_p, log_q = (
            tf.nn.log_softmax(tf.cast(target.logits(part), tf.float64)) for part in (images, moved)
        )
        return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


def _has_finite_gradient(target: Target, images: Tensor) -> Tensor:
    """Returns (batch,) bool: no slope of the net is infinite there; any combination of outputs shows it."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        outputs = target.logits(images)
    gradient = tape.gradient(outputs, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return is_finite(tf.stop_gradient(gradient))


def _grey(target: Target, images: Tensor) -> Tensor:
    """Returns images of the mean of the bounds."""
    return tf.fill(tf.shape(images), tf.cast(sum(target.bounds or (0.0, 1.0)) / 2, images.dtype))
