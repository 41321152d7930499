"""Adversarial training as a Keras layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.attacks import FixedEpsilonAttack
from keras_fisher.attacks.attack import warn_of_short_lengths
from keras_fisher.attacks.image_ops import is_finite, where_image
from keras_fisher.checks import check_integer, check_real, message, suggests_keywords
from keras_fisher.classifiers import Classifier, target_of
from keras_fisher.classifiers.image_check import check_bounds
from keras_fisher.fisher.solvers import Solver
from keras_fisher.layers.held_model import held_model_config
from keras_fisher.linalg.vectors import nan_unless
from keras_fisher.serialization import describe, restore
from keras_fisher.training.training_attack import (
    check_trained_direction,
    default_epsilon,
    training_attack,
)
from keras_fisher.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_fisher")
class OSSALayer(keras.layers.Layer):
    """Moves a part of each batch along the top Fisher eigenvector of a net, in training only.

    Put it before the net that it holds: `keras.Sequential([kf.layers.OSSALayer(net), net])`. The net is the
    same object in both places, and its weights are shared. It is attacked in inference mode, as it stands at
    that step; no gradient flows through the perturbation. In inference the layer is the identity. A `.keras`
    file keeps the net one; `keras.models.clone_model` does not: it gives the layer a net of its own.

    The perturbed rows of a batch lie evenly spread over it, from a random phase on: each row has the same
    chance, and two replicas with one seed choose what one device chooses from the whole batch.

    Args:
        model: a Classifier, or a Functional or Sequential keras.Model with an Input, images (batch, h, w, c)
            → (batch, classes).
        epsilon: l2 norm of the perturbation in units of the pixels, before clipping to the bounds. None is
            the attack's own, or 1.5 times the range of the bounds. The property of this name may be set
            between steps.
        fraction: of each batch that is perturbed, in [0, 1].
        solver: finds the eigenvector, as in `kf.attacks.OSSA`. "auto" is three products of
            `kf.solvers.FixedGolubKahan`, and the side where the loss of the label rises. Another solver has
            both ends tried, a forward pass each; nets that were trained either way were equally robust.
        attack: another attack: `kf.attacks.FGM()`, `BIM(...)`, `PGD(...)`. None is OSSA.
        seed: of the choice of rows and of random starts.
        bounds: (lowest, highest) pixel, None for any, or "auto" (default): those of the Classifier, and
            [0, 1] for a keras.Model.

    Call arguments:
        images: (batch, h, w, c) within the bounds.
        labels: (batch,) class indices, whose probability the attack lowers; None is the net's own answers.
        training: whether to perturb.

    Returns:
        Images of the same shape. In training an image outside of the bounds comes out as NaN, since XLA does
        not let a graph raise an error: clipping it would train on something else.

    Raises:
        TypeError, ValueError: a bad argument, or a model that `Classifier` refuses.

    Source: Zhao et al. 2019, Algorithm 1, as the data of adversarial training (section 4.2).

    Example:
        >>> import keras, keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> net = kf.models.lenet5()
        >>> model = keras.Sequential([kf.layers.OSSALayer(net, epsilon=1.5), net])
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(images, labels, verbose=0)
    """

    @suggests_keywords
    def __init__(
        self,
        model: Classifier | keras.Model,
        epsilon: float | None = None,
        fraction: float = 0.5,
        solver: str | Solver = "auto",
        *,
        attack: FixedEpsilonAttack | None = None,
        seed: int = 0,
        bounds: tuple[float, float] | str | None = "auto",
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        _known: dict[str, Any] | None = None,
    ) -> None:
        # Of a layer that is read from a file: its model has no weights yet, to be tried out.
        known = _known
        if epsilon is not None:
            check_real("epsilon", epsilon, 0.0, 1e18, exclusive_minimum=True)
        check_integer("seed", seed, 0, 2**31 - 1)
        attack = training_attack(attack, epsilon, solver)
        network: Any = model
        if known is None:
            classifier = _classifier(model, bounds)
            check_trained_direction(attack, classifier)
            network, bounds = classifier.model, classifier.bounds
            known = {
                "reading": classifier.reading,
                "lacks_second_derivative": classifier.target.lacks_second_derivative,
            }
            warn_of_short_lengths({"epsilon": default_epsilon(attack, bounds)}, classifier)
        bounds = check_bounds(bounds)
        if dtype is None and keras.backend.standardize_dtype(network.inputs[0].dtype) == "float64":
            dtype = "float64"
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        self.fraction = check_real("fraction", fraction, 0.0, 1.0)
        self.attack = dataclasses.replace(attack, epsilon=default_epsilon(attack, bounds))
        self.seed = seed
        self.model = network
        self._known = known
        self._target = dataclasses.replace(
            target_of(network, known["reading"], bounds),
            lacks_second_derivative=known["lacks_second_derivative"],
        )
        # Keras asks where it is to choose whether to compile with XLA.
        self.supports_jit = self.attack.has_static_shapes(self._target.num_classes)
        self._epsilon = self._scalar("epsilon", default_epsilon(attack, bounds))
        self._share = self._scalar("share", 1.0)
        self._step = self._scalar("step", 0, dtype="int32")

    @property
    def metrics(self) -> list[keras.Metric]:
        """Its own alone: those that the wrapped model was compiled with are that model's."""
        return list(self._metrics)

    @property
    def epsilon(self) -> float:
        """The l2 norm of the perturbation at present; setting it traces nothing anew."""
        return float(self._epsilon.numpy())

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self._epsilon.assign(check_real("epsilon", value, 0.0, 1e18))

    @property
    def share(self) -> float:
        """The part of the chosen rows that is perturbed at present, in [0, 1].

        `fraction` is how many rows are chosen: XLA has to know it before. This may be set between steps.
        """
        return float(self._share.numpy())

    @share.setter
    def share(self, value: float) -> None:
        self._share.assign(check_real("share", value, 0.0, 1.0))

    @property
    def step(self) -> int:
        """How many batches were perturbed: with the seed it determines the random numbers of the next one.

        It is stored with the weights, so that training that goes on from a file repeats an unbroken one.
        """
        return int(self._step.numpy())

    @step.setter
    def step(self, value: int) -> None:
        self._step.assign(check_integer("step", value, 0))

    def call(self, images: Tensor, labels: Tensor | None = None, training: bool | None = None) -> Tensor:
        if training and self.fraction > 0:
            is_inside = self.is_inside(images)
            images = self.perturb(images, labels)
            images = nan_unless(is_inside, images)
        return tf.cast(images, self.compute_dtype)

    def perturb(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Returns the images as in training, in their own dtype; those outside of the bounds unmoved."""
        # A net may not take an empty batch, nor do convolutions of oneDNN.
        fixed = _at_least_a_row(tf.stop_gradient(images), self._lowest)
        num_images = tf.shape(fixed)[0]
        num_rows = tf.cast(tf.round(self.fraction * tf.cast(num_images, tf.float64)), tf.int32)
        num_rows = tf.maximum(num_rows, 1)
        # Not a SeedGenerator: its state is not among the weights, and training that resumes would repeat it.
        random = tf.stack([tf.constant(self.seed), tf.cast(self._step, tf.int32)])
        self._step.assign_add(1)
        phases = _phases(random)
        rows = _spread(num_rows, num_images, phases[0])
        chosen = tf.ensure_shape(tf.gather(fixed, rows), [None, *images.shape[1:]])
        classes = None
        if labels is not None:
            classes = tf.gather(_at_least_a_row(tf.reshape(labels, [-1]), 0), rows)
        is_inside = self.is_inside(chosen)
        is_moved = _is_of_share(num_rows, self._share, phases[1]) & is_inside
        epsilon = tf.where(is_moved, tf.cast(self._epsilon, tf.float64), tf.constant(0.0, tf.float64))
        # Whatever is outside, NaN too, is kept from the attack.
        start = where_image(is_inside, chosen, tf.fill(tf.shape(chosen), tf.cast(self._lowest, chosen.dtype)))
        moved = self.attack.perturb(self._target, start, classes, epsilon, random)
        moved = tf.tensor_scatter_nd_update(fixed, rows[:, None], where_image(is_moved, moved, chosen))
        moved = tf.stop_gradient(moved[: tf.shape(images)[0]])
        # The gradient in the images is that of the identity, the value exactly the perturbed one.
        return tf.ensure_shape(moved, images.shape) + (images - tf.stop_gradient(images))

    @property
    def _lowest(self) -> float:
        return 0.0 if self._target.bounds is None else self._target.bounds[0]

    def is_inside(self, images: Tensor) -> Tensor:
        """Returns (batch,) bool: which images lie within the bounds."""
        if self._target.bounds is None:
            return is_finite(images)
        axes = list(range(1, images.shape.rank))
        lower, upper = np.asarray(self._target.bounds, images.dtype.as_numpy_dtype)
        return tf.reduce_all((images >= lower) & (images <= upper), axis=axes)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        bounds = self._target.bounds
        return super().get_config() | {
            "model": held_model_config(self.model),
            "epsilon": self.attack.epsilon,
            "fraction": self.fraction,
            "attack": describe("attack", self.attack),
            "seed": self.seed,
            "bounds": None if bounds is None else list(bounds),
            "_known": self._known,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OSSALayer:
        model = keras.saving.deserialize_keras_object(config["model"])
        return cls(**(config | {"model": model, "attack": restore(config["attack"])}))

    def _scalar(self, name: str, value: float, dtype: str = "float32") -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(),
            dtype=dtype,
            initializer=keras.initializers.Constant(value),
            trainable=False,
            autocast=False,
            # Replicas do the same with it.
            aggregation="only_first_replica",
        )


def _classifier(model: Classifier | keras.Model, bounds: Any) -> Classifier:
    """Returns the model as a Classifier with these bounds.

    Raises:
        ValueError: bounds that contradict those of the Classifier.
    """
    if not isinstance(model, Classifier):
        return Classifier(model) if bounds == "auto" else Classifier(model, bounds=bounds)
    if bounds != "auto" and check_bounds(bounds) != model.bounds:
        remedy = "Leave them out, or pass the keras.Model."
        raise ValueError(message("bounds", f"be those of the Classifier, {model.bounds}", bounds, remedy))
    return model


def _phases(random: Tensor) -> Tensor:
    """Returns two phases (2,) in [0, 1) of the pair (seed, step).

    Multiples of irrational numbers, which fill the interval more evenly than random ones, and are the same
    under XLA, which has other random numbers.
    """
    seed, step = tf.unstack(tf.cast(random, tf.float64))
    return tf.math.mod(tf.stack([step * (5**0.5 - 1) / 2, step * (2**0.5 - 1)]) + seed * (3**0.5 - 1), 1.0)


def _at_least_a_row(batch: Tensor, value: float) -> Tensor:
    """Returns the batch, or one row of this value where it is empty."""
    spare = tf.fill([tf.maximum(1 - tf.shape(batch)[0], 0), *batch.shape[1:]], tf.cast(value, batch.dtype))
    return tf.concat([batch, spare], axis=0)


def _spread(num_rows: Tensor, num_images: Tensor, phase: Tensor) -> Tensor:
    """Returns (num_rows,) int32 indices below `num_images`, ascending and evenly spread; phase in [0, 1)."""
    places = tf.cast(tf.range(num_rows), tf.float64) + phase
    distance = tf.cast(num_images, tf.float64) / tf.cast(num_rows, tf.float64)
    return tf.minimum(tf.cast(places * distance, tf.int32), num_images - 1)


def _is_of_share(num_rows: Tensor, share: Tensor, phase: Tensor) -> Tensor:
    """Returns (num_rows,) bool, True for this share of the rows, evenly spread; phase in [0, 1)."""
    places = tf.cast(tf.range(num_rows + 1), tf.float64)
    steps = tf.floor(places * tf.cast(share, tf.float64) + phase)
    return steps[1:] > steps[:-1]
