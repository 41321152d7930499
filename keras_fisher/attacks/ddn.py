"""Decoupled direction and norm."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack import MinimumNormAttack, check_length, logits_of
from keras_fisher.attacks.attempt import WORST, Attempt, answers
from keras_fisher.attacks.batch import Batch, Goal
from keras_fisher.attacks.directions import loss_gradient
from keras_fisher.attacks.image_ops import Bounds, clip_to, norms, pixel_range, scaled
from keras_fisher.checks import check_integer, check_real
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.typing import Tensor

#: Length of the last step relative to that of the first, which is the range of the pixels.
_LAST_STEP = 0.01
#: Pixels up to here, and ranges down to its inverse, have squares that float32 can hold.
_ORDINARY = 1e9


@dataclasses.dataclass(frozen=True)
class DDN(MinimumNormAttack):
    """Steps along the gradient, each projected on a sphere that shrinks after a success and grows otherwise.

    Args:
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Seek the class that `targets` names.
        steps: int, default 100. The number of iterations.
        initial_norm: float, default None. Radius of the first sphere; None is the range of the bounds.
        gamma: float, default 0.05. The radius is multiplied by 1 − gamma after a success and by 1 + gamma
            otherwise.

    Source: Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger 2019, "Decoupling direction and norm for
    efficient gradient-based L2 adversarial attacks and defenses", Algorithm 1, with its cosine schedule from
    1 to 0.01 of the range of pixels, without its rounding to 8 bits. The last iterate is a candidate too.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.DDN(steps=40)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> bool(result.success.all())
        True
    """

    _: dataclasses.KW_ONLY
    steps: int = 100
    initial_norm: float | None = None
    gamma: float = 0.05

    can_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, 1)
        check_length("initial_norm", self.initial_norm)
        check_real("gamma", self.gamma, 0.0, 0.999, exclusive_minimum=True)

    def lengths(self, batch: Batch) -> dict[str, float]:
        return {} if self.initial_norm is None else {"initial_norm": float(self.initial_norm)}

    def search(self, classifier: Classifier, batch: Batch) -> Attempt:
        goal, unit_length = batch.goal, pixel_range(classifier.bounds)
        radius = unit_length if self.initial_norm is None else self.initial_norm
        numbers = (np.int32(self.steps), *(np.float64(part) for part in (unit_length, radius, self.gamma)))
        # The squares of ordinary pixels can be summed in float32, which is seven times as quick.
        is_ordinary = classifier.bounds is not None and np.abs(classifier.bounds).max() < _ORDINARY
        dtype = classifier.image_dtype if is_ordinary and unit_length > 1 / _ORDINARY else tf.float64
        settings = {"kind": goal.kind, "bounds": self.limits(classifier.bounds), "dtype": dtype}
        tensors = (batch.images, goal.labels, goal.targets, *numbers)
        images, best = classifier.run(_search, *tensors, **settings)
        # Where the last step has led.
        _, best = _look(goal, batch.images, images, logits_of(classifier, images), best, dtype)
        return best._replace(num_iterations=np.full(len(batch), self.steps))


def _search(
    target: Target,
    origins: Tensor,
    labels: Tensor,
    targets: Tensor,
    steps: Tensor,
    first_step: Tensor,
    initial_norm: Tensor,
    gamma: Tensor,
    *,
    kind: str,
    bounds: Bounds | None,
    dtype: tf.DType,
) -> tuple[Tensor, Attempt]:
    """Returns where the last step has led, and the best before."""
    goal = Goal(labels, targets, kind)
    farthest = tf.fill(tf.shape(labels), tf.constant(WORST, tf.float64))
    if bounds is not None:
        lower, upper = np.asarray(bounds, origins.dtype.as_numpy_dtype)
        farthest = norms(tf.maximum(origins - lower, upper - origins))

    def advance(step: Tensor, images: Tensor, radius: Tensor, best: Attempt) -> tuple:
        gradients, logits = loss_gradient(target, images, goal.classes)
        is_fooled, best = _look(goal, origins, images, logits, best, dtype)
        phase = math.pi * tf.cast(step, tf.float64) / tf.cast(steps, tf.float64)
        length = first_step * (_LAST_STEP + (1 - _LAST_STEP) * 0.5 * (1 + tf.cos(phase)))
        lengths = tf.fill(tf.shape(labels), goal.sign * length)
        offsets = images - origins + scaled(gradients, lengths)
        radius = tf.minimum(radius * tf.where(is_fooled, 1 - gamma, 1 + gamma), farthest)
        images = clip_to(bounds, origins + scaled(offsets, radius, dtype))
        return step + 1, tf.ensure_shape(images, origins.shape), radius, best

    radius = tf.fill(tf.shape(labels), initial_norm)
    _, images, _, best = tf.while_loop(
        lambda step, *_: step < steps, advance, (0, origins, radius, Attempt.none(origins))
    )
    return images, best


def _look(
    goal: Goal, origins: Tensor, images: Tensor, logits: Tensor, best: Attempt, dtype: tf.DType
) -> tuple[Tensor, Attempt]:
    """Returns where the images fool the net (n,), and the best with these offered to it."""
    predictions, missing = answers(logits), goal.missing(logits)
    is_fooled = goal.is_reached(predictions) & (missing < 0)
    cost = tf.where(is_fooled, norms(images - origins, dtype), missing)
    return is_fooled, best.offer(images, predictions, is_fooled, cost)
