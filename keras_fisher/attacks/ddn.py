"""Decoupled direction and norm."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import loss_gradient, norms, per_image, unit, where_image
from keras_fisher.attacks.judgement import margins
from keras_fisher.attacks.minimum_norm_attack import MinimumNormAttack
from keras_fisher.checks import check_integer, check_real
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Tensor

#: Length of the last step relative to that of the first, which is 1.
_LAST_STEP = 0.01


@dataclasses.dataclass(frozen=True)
class DDN(MinimumNormAttack):
    """Steps along the gradient, each projected on a sphere that shrinks after a success and grows otherwise.

    Args:
        clip: keep the images within the classifier's bounds.
        targeted: seek the class that `targets` names.
        steps: the number of iterations.
        initial_norm: radius of the first sphere.
        gamma: factor of the radius is 1 − gamma after a success and 1 + gamma otherwise.

    Source: Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger 2019, "Decoupling direction and norm for
    efficient gradient-based L2 adversarial attacks and defenses", Algorithm 1, with its cosine schedule from
    1 to 0.01, without its rounding to 8 bits. The last iterate is a candidate too.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.DDN(steps=40)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> bool(result.success.all())
        True
    """

    _: dataclasses.KW_ONLY
    steps: int = 100
    initial_norm: float = 1.0
    gamma: float = 0.05

    can_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, 1)
        check_real("initial_norm", self.initial_norm, 0.0, exclusive_minimum=True)
        check_real("gamma", self.gamma, 0.0, 0.999, exclusive_minimum=True)

    def search(self, classifier: Classifier, chunk: Chunk, best: BestAttempt) -> None:
        index = tf.TensorSpec([None], tf.int64)
        program = classifier.program(
            ("ddn", dataclasses.replace(self, steps=1)),
            lambda images, classes, steps: self._search(classifier, images, classes, steps),
            chunk.images.shape[1:],
            index,
            tf.TensorSpec([], tf.int32),
        )
        images = program(*map(tf.convert_to_tensor, (chunk.images, chunk.classes)), tf.constant(self.steps))
        best.images = images.numpy()
        best.num_iterations[:] = self.steps

    def _search(self, classifier: Classifier, origins: Tensor, classes: Tensor, steps: Tensor) -> Tensor:
        """Returns the best images, in a graph."""
        sign = -1.0 if self.targeted else 1.0
        infinity = tf.fill(tf.shape(classes), tf.constant(np.inf, tf.float64))
        farthest = infinity
        if self.clip and classifier.bounds is not None:
            lower, upper = np.asarray(classifier.bounds, origins.dtype.as_numpy_dtype)
            farthest = norms(tf.maximum(origins - lower, upper - origins))

        def keep(images, logits, best, least_norm, least_margin):
            margin = sign * margins(logits, classes)
            length = norms(images - origins)
            is_fooled = margin < 0
            has_none = least_norm == np.inf
            is_better = tf.where(is_fooled, length < least_norm, has_none & (margin < least_margin))
            best = where_image(is_better, images, best)
            least_norm = tf.where(is_fooled, tf.minimum(length, least_norm), least_norm)
            return is_fooled, best, least_norm, tf.minimum(margin, least_margin)

        def advance(step, images, radius, best, least_norm, least_margin):
            gradients, logits = loss_gradient(classifier, images, classes)
            is_fooled, *kept = keep(images, logits, best, least_norm, least_margin)
            phase = math.pi * tf.cast(step, tf.float64) / tf.cast(steps, tf.float64)
            length = _LAST_STEP + (1 - _LAST_STEP) * 0.5 * (1 + tf.cos(phase))
            offsets = images - origins + tf.cast(sign * length, images.dtype) * unit(gradients)
            factor = 1 + self.gamma * (1 - 2 * tf.cast(is_fooled, tf.float64))
            radius = tf.minimum(radius * factor, farthest)
            offsets = unit(offsets) * per_image(radius, offsets)
            return step + 1, self.restrict_tensor(classifier, origins + offsets), radius, *kept

        radius = tf.fill(tf.shape(classes), tf.constant(self.initial_norm, tf.float64))
        _, images, _, *kept = tf.while_loop(
            lambda step, *_: step < steps, advance, (0, origins, radius, origins, infinity, infinity)
        )
        return keep(images, classifier.parameters(images), *kept)[1]
