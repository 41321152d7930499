"""Attacks that take one step along a direction."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack import FixedEpsilonAttack, fixed, logits_of
from keras_fisher.attacks.attempt import Attempt, answers, put, to_arrays
from keras_fisher.attacks.batch import AWAY, Batch, Goal
from keras_fisher.attacks.directions import (
    Direction,
    check_direction,
    check_is_pure,
    find_directions,
    float32_loss_ascent_direction,
    in_training,
    labels_or_predictions,
    loss_ascent_direction,
    random_direction,
    stages,
)
from keras_fisher.attacks.image_ops import Bounds, clip_to, per_image, seeds_of_images
from keras_fisher.checks import check_flag, check_integer
from keras_fisher.classifiers import Classifier, Target, class_odds
from keras_fisher.typing import Array, Tensor


class _Prepared(NamedTuple):
    """What a step does not need epsilon for."""

    directions: Tensor  # (n, m, h, w, c)
    clean_predictions: Tensor  # (n,) int64
    is_settled: Tensor  # (n,) bool


@dataclasses.dataclass(frozen=True)
class OneStepAttack(FixedEpsilonAttack):
    """x + epsilon · d with a unit direction d that does not depend on epsilon.

    Of several directions the net is asked at the end of each, anew at every epsilon: a success is taken
    before a failure, then the larger loss.

    Args:
        epsilon: float, default None. l2 norm of the step; None is the range of the bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Step towards the class that `targets` names: against the direction in
            which its loss rises.
        direction: callable (target, images, labels, seed) → unit directions, in a graph; see
            `kf.attacks.Direction`.
        seed: int, default 0. With the position of an image it is the seed that `direction` is given.

    Example:
        >>> import keras_fisher as kf, tensorflow as tf
        >>> def brighter(target, images, labels, seed):
        ...     return kf.attacks.unit(tf.ones_like(images))
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.OneStepAttack(epsilon=2.0, direction=brighter)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    _: dataclasses.KW_ONLY
    direction: Direction = loss_ascent_direction
    seed: int = 0

    can_target: ClassVar[bool] = True
    works_in_training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_is_pure(self.direction)
        check_integer("seed", self.seed, 0, 2**31 - 1)

    @final
    def prepare(self, classifier: Classifier, batch: Batch) -> _Prepared:
        check_direction(self.direction, classifier, batch)
        goal = batch.goal
        arrays = (batch.images, goal.labels, goal.targets, batch.seeds(self.seed))
        first, *others = stages(self.direction, classifier.num_classes)
        whole = classifier.run(_prepare, *arrays, kind=goal.kind, direction=first)
        for direction in others:
            rows = np.flatnonzero(~whole.is_settled.numpy())
            if not rows.size:
                break
            part = [array[rows] for array in arrays]
            found = classifier.run(_prepare, *part, kind=goal.kind, direction=direction)
            whole = put(whole, rows, found)
        return whole

    @final
    def attempt(self, classifier: Classifier, batch: Batch, prepared: _Prepared, epsilon: Array) -> Attempt:
        goal = batch.goal
        bounds = self.limits(classifier.bounds)
        ends = classifier.run(_ends, batch.images, prepared.directions, epsilon, bounds=bounds)
        best = classifier.run(
            _best_end, ends, logits_of(classifier, _flat(ends)), goal.labels, goal.targets, kind=goal.kind
        )
        return to_arrays(best._replace(clean_predictions=prepared.clean_predictions))

    @final
    def perturb(
        self, target: Target, images: Tensor, labels: Tensor | None, epsilon: Tensor, seed: Tensor
    ) -> Tensor:
        seeds = seeds_of_images(seed, images)
        found = find_directions(in_training(self.direction), target, images, labels, seeds)
        ends = _ends(target, images, found.directions, epsilon, bounds=self.limits(target.bounds))
        if ends.shape[1] == 1:
            return ends[:, 0]
        labels = labels_or_predictions(labels, found.logits)
        return _best_end(target, ends, target.logits(_flat(ends)), labels, labels, kind=AWAY).images


def _prepare(
    target: Target,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    seeds: Tensor,
    *,
    kind: str,
    direction: Direction,
) -> _Prepared:
    goal = Goal(labels, targets, kind)
    found = find_directions(direction, target, images, goal.classes, seeds)
    return _Prepared(goal.sign * found.directions, answers(found.logits), found.is_settled)


def _ends(
    target: Target, images: Tensor, directions: Tensor, epsilon: Tensor, *, bounds: Bounds | None
) -> Tensor:
    """Returns (n, m, h, w, c), where the steps of these lengths (n,) lead."""
    return clip_to(bounds, images[:, None] + per_image(epsilon, directions) * directions)


def _flat(ends: Tensor) -> Tensor:
    return tf.reshape(ends, tf.concat([[-1], tf.shape(ends)[2:]], axis=0))


def _best_end(
    target: Target, ends: Tensor, logits: Tensor, labels: Tensor, targets: Tensor, *, kind: str
) -> Attempt:
    """Returns the best of the ends (n, m, h, w, c), whose logits are (n · m, classes)."""
    num_ends = ends.shape[1]
    goal = Goal(tf.repeat(labels, num_ends), tf.repeat(targets, num_ends), kind)
    odds = goal.sign * class_odds(logits, goal.classes).log_odds
    predictions = answers(logits)
    judged = [predictions, goal.is_reached(predictions), odds]
    predictions, is_success, odds = (tf.reshape(part, [-1, num_ends]) for part in judged)
    # The first end is taken as it is: what the net has no answer to is a failure, but has been moved.
    first = (ends[:, 0], predictions[:, 0], is_success[:, 0], odds[:, 0])
    best = Attempt(*first, num_iterations=tf.ones_like(labels), clean_predictions=labels)
    for index in range(1, num_ends):
        best = best.offer(ends[:, index], predictions[:, index], is_success[:, index], odds[:, index])
    return best


@dataclasses.dataclass(frozen=True)
class FGM(OneStepAttack):
    """One step of length epsilon along the gradient of the loss −log p(y|x), l2.

    Its direction is formed from differences of logits and is exact however sure the classifier is; ordinary
    cross-entropy in float32 loses it where softmax saturates.

    Args:
        epsilon: float, default None. l2 norm of the step; None is the range of the bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Step towards the class that `targets` names (see also OTCM, which
            chooses it).
        float32_loss: bool, default False. Take the gradient of the ordinary cross-entropy in the model's
            precision, as other libraries do. For comparison: its direction is lost where softmax saturates.

    Source: Goodfellow, Shlens and Szegedy 2014, with the l2 norm; Zhao et al. 2019, section 3.4.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.FGM(epsilon=2.0)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> result.images.shape, bool((result.norms <= 2.0001).all())
        ((8, 28, 28, 1), True)
    """

    _: dataclasses.KW_ONLY
    direction: Direction = fixed(loss_ascent_direction)
    seed: int = fixed(0)
    float32_loss: bool = False

    def __post_init__(self) -> None:
        if check_flag("float32_loss", self.float32_loss):
            object.__setattr__(self, "direction", float32_loss_ascent_direction)
        super().__post_init__()


@dataclasses.dataclass(frozen=True)
class RandomNoise(OneStepAttack):
    """One step of length epsilon in a uniformly random direction.

    The control of every attack, and the noisy negatives of the detector (Zhao et al. 2019, section 4).

    Args:
        epsilon: float, default None. l2 norm of the noise; None is the range of the bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        seed: int, default 0. With the position of an image it determines its noise, whatever the batch size.
    """

    direction: Direction = fixed(random_direction)

    can_target: ClassVar[bool] = False
