"""Attacks that take many small steps within a ball."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack import (
    FixedEpsilonAttack,
    check_length,
    fixed,
    logits_of,
)
from keras_fisher.attacks.attempt import (
    NO_ANSWER,
    Attempt,
    answers,
    put,
    state_of,
    take,
    take_steps,
    to_arrays,
)
from keras_fisher.attacks.batch import AWAY, Batch, Goal
from keras_fisher.attacks.directions import (
    Direction,
    check_direction,
    check_is_pure,
    find_direction,
    in_training,
    loss_ascent_direction,
)
from keras_fisher.attacks.image_ops import (
    Bounds,
    clip_to,
    normal_images,
    norms,
    per_image,
    seeds_at,
    seeds_of_images,
    uniform_numbers,
    unit,
    where_image,
)
from keras_fisher.checks import check_flag, check_integer
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: Steps in one go of a compiled program.
_AT_ONCE = 5


class _State(NamedTuple):
    """The images at work, one row each."""

    images: Tensor  # (active, h, w, c) where the attack stands
    origins: Tensor  # (active, h, w, c) the centres of the balls
    labels: Tensor  # (active,) int64
    targets: Tensor  # (active,) int64
    seeds: Tensor  # (active, 2) int32
    epsilon: Tensor  # (active,) float64
    step_size: Tensor  # (active,) float64
    is_open: Tensor  # (active,) bool, not fooled yet
    best: Attempt


@dataclasses.dataclass(frozen=True)
class IterativeAttack(FixedEpsilonAttack):
    """x ← P(x + step_size · d(x)), with P the projection on the ball of radius epsilon, then on the bounds.

    An image leaves the batch as soon as it is fooled, so that the cost follows what is left. Of an image that
    never is, the iterate nearest to a wrong answer is kept.

    Args:
        epsilon: float, default None. l2 radius of the ball; None is the range of the bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Only the target is a success, and steps go against the direction in
            which its loss rises.
        direction: callable (target, images, labels, seed) → unit directions, in a graph; see
            `kf.attacks.Direction`.
        steps: int, default 20. The most iterations.
        step_size: float, default None. l2 norm of one step; None is 2.5 · epsilon / steps, with which all of
            the ball is in reach (Madry et al. 2018).
        early_stop: bool, default True. Let an image leave as soon as it is fooled. False goes on to the
            largest margin.
        seed: int, default 0. With the position of an image and the number of the step it makes the seed that
            `direction` is given.

    Example:
        >>> import keras_fisher as kf, tensorflow as tf
        >>> def brighter(target, images, labels, seed):
        ...     return kf.attacks.unit(tf.ones_like(images))
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.IterativeAttack(epsilon=4.0, direction=brighter, steps=5)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    _: dataclasses.KW_ONLY
    direction: Direction = loss_ascent_direction
    steps: int = 20
    step_size: float | None = None
    early_stop: bool = True
    random_start: bool = fixed(False)
    restarts: int = fixed(1)
    seed: int = 0

    can_target: ClassVar[bool] = True
    works_in_training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_is_pure(self.direction)
        check_integer("steps", self.steps, 1)
        check_length("step_size", self.step_size)
        check_flag("early_stop", self.early_stop)
        check_flag("random_start", self.random_start)
        remedy = "" if self.random_start else "Without a random start all of them would be the same."
        check_integer("restarts", self.restarts, 1, None if self.random_start else 1, remedy)
        check_integer("seed", self.seed, 0, 2**31 - 1)

    def lengths(self, batch: Batch) -> dict[str, float]:
        given = {"epsilon": self.epsilon, "step_size": self.step_size}
        return {name: float(length) for name, length in given.items() if length is not None}

    @final
    def prepare(self, classifier: Classifier, batch: Batch) -> tuple[()]:
        check_direction(self.direction, classifier, batch)
        return ()

    @final
    def attempt(self, classifier: Classifier, batch: Batch, prepared: Any, epsilon: Array) -> Attempt:
        return best_of_starts(
            batch,
            self.restarts,
            self.early_stop,
            lambda rows, restart: self._climb(classifier, batch.select(rows), epsilon[rows], restart),
        )

    def _climb(self, classifier: Classifier, batch: Batch, epsilon: Array, restart: int) -> Attempt:
        """Returns the best of all iterates from one start."""
        goal, seeds, bounds = batch.goal, batch.seeds(self.seed), self.limits(classifier.bounds)
        images = tf.convert_to_tensor(batch.images)
        start, clean_predictions = self.start(classifier, batch, epsilon, restart)
        state = _State(
            images=start,
            origins=images,
            labels=goal.labels,
            targets=goal.targets,
            seeds=seeds,
            epsilon=epsilon,
            step_size=self.step_lengths(epsilon),
            is_open=np.ones(len(batch), bool),
            best=Attempt.none(images, clean_predictions),
        )
        state = tf.nest.map_structure(tf.convert_to_tensor, state)
        step = 0
        while step < self.steps and np.any(state.is_open):
            # A few steps at once: between them a bar moves, and Ctrl-C is heard.
            numbers = (np.int32(step), np.int32(min(step + _AT_ONCE, self.steps)), self.early_stop)
            settings = {"direction": self.direction, "kind": goal.kind, "bounds": bounds}
            step, state = classifier.run(_take_steps, *tf.nest.flatten(state), *numbers, **settings)
            step = int(step)
            note(step / self.steps)
        rows = np.flatnonzero(state.is_open)
        if rows.size:  # Where the last step has led.
            part = take(state, rows)
            logits = logits_of(classifier, part.images)
            state = put(state, rows, _look(step, part, logits, goal.kind, self.early_stop))
        return state.best

    def start(
        self, classifier: Classifier, batch: Batch, epsilon: Array, restart: int
    ) -> tuple[Tensor, Tensor | None]:
        """Returns where a climb starts (n, h, w, c), and the answers at the images if it starts elsewhere."""
        images, seeds = tf.convert_to_tensor(batch.images), batch.seeds(self.seed)
        if not self.random_start:
            return images, None
        bounds = self.limits(classifier.bounds)
        start = classifier.run(_start, images, seeds, epsilon, np.int32(restart), bounds=bounds)
        return start, answers(logits_of(classifier, images))

    @final
    def perturb(
        self, target: Target, images: Tensor, labels: Tensor | None, epsilon: Tensor, seed: Tensor
    ) -> Tensor:
        if labels is None:
            labels = tf.argmax(target.logits(images), axis=-1)
        labels, bounds = tf.cast(labels, tf.int64), self.limits(target.bounds)
        goal, seeds = Goal(labels, labels, AWAY), seeds_of_images(seed, images)
        step_size = self.step_lengths(epsilon)

        def step(iteration: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
            each = seeds_at(seeds, iteration)
            directions, _ = find_direction(in_training(self.direction), target, moved, goal, each)
            moved = move(bounds, moved, images, directions, epsilon, step_size)
            return iteration + 1, tf.ensure_shape(moved, images.shape)

        start = images
        if self.random_start:
            start = _start(target, images, seeds, epsilon, tf.constant(0), bounds=bounds)
        _, moved = tf.while_loop(lambda iteration, _: iteration < self.steps, step, (0, start))
        return moved

    def step_lengths(self, epsilon: Tensor) -> Tensor:
        """Returns (n,) the l2 norm of a step in balls of these radii (n,)."""
        return 2.5 * epsilon / self.steps if self.step_size is None else 0.0 * epsilon + self.step_size


def best_of_starts(
    batch: Batch, restarts: int, early_stop: bool, climb: Callable[[Array, int], Attempt]
) -> Attempt:
    """Returns, with arrays, the best attempt of several starts.

    Args:
        batch: n images.
        restarts: the number of starts.
        early_stop: whether images that have succeeded are not started again.
        climb: returns the attempt at these rows of the batch from the start of this number.
    """
    rows = np.arange(len(batch))
    best = to_arrays(climb(rows, 0))
    for restart in range(1, restarts):
        if early_stop:
            rows = np.flatnonzero(~best.is_success)
        if not rows.size:
            break
        part = take(best, rows)
        found = climb(rows, restart)
        better = part.offer(found.images, found.predictions, found.is_success, found.cost)
        spent = part.num_iterations + found.num_iterations
        best = to_arrays(put(best, rows, better._replace(num_iterations=spent)))
    return best


def move(
    bounds: Bounds | None,
    images: Tensor,
    origins: Tensor,
    directions: Tensor,
    epsilon: Tensor,
    step_size: Tensor,
) -> Tensor:
    """Returns the images (n, h, w, c) after a step, within the ball and the bounds, in a graph.

    Args:
        bounds: (lower, upper), or None.
        images: (n, h, w, c) where the attack stands.
        origins: (n, h, w, c) the centres of the balls.
        directions: (n, h, w, c) of unit l2 norm.
        epsilon: (n,) float64, the radii.
        step_size: (n,) float64.
    """
    images = images + per_image(step_size, images) * directions
    offsets = images - origins
    lengths = norms(offsets)
    shrink = tf.minimum(tf.math.divide_no_nan(epsilon, lengths), 1.0)
    # Within the ball as it is: not even the rounding of a projection.
    images = where_image(lengths <= epsilon, images, origins + per_image(shrink, images) * offsets)
    return clip_to(bounds, images)


def _start(
    target: Target, images: Tensor, seeds: Tensor, epsilon: Tensor, restart: Tensor, *, bounds: Bounds | None
) -> Tensor:
    """Returns points uniform in the balls: a random direction, and a radius by the volume within."""
    dimension = tf.TensorShape(images.shape[1:]).num_elements()
    directions = unit(normal_images(images, seeds, 2 * restart))
    lengths = epsilon * uniform_numbers(seeds, 2 * restart + 1) ** (1.0 / dimension)
    return clip_to(bounds, images + per_image(lengths, images) * directions)


def _take_steps(
    target: Target, *tensors: Tensor, direction: Direction, kind: str, bounds: Bounds | None
) -> tuple[Tensor, _State]:
    """Returns the number of the next step, and the state before it.

    Args:
        target: the net.
        tensors: those of the state; the number of the next step and of the one before which to end; whether
            images that are fooled are done.
        direction: where to go.
        kind: of the goal.
        bounds: that images are kept to.
    """
    *flat, first, last, early_stop = tensors

    def take_step(step: Tensor, state: _State) -> _State:
        goal, seeds = Goal(state.labels, state.targets, kind), seeds_at(state.seeds, step)
        directions, logits = find_direction(direction, target, state.images, goal, seeds)
        state = _look(step, state, logits, kind, early_stop)
        moved = move(bounds, state.images, state.origins, directions, state.epsilon, state.step_size)
        return state._replace(images=moved)

    return take_steps(take_step, first, last, state_of(_State, flat))


def _look(step: Tensor, state: _State, logits: Tensor, kind: str, early_stop: Tensor) -> _State:
    """Returns the state with its images offered to the best so far, closed where they are fooled."""
    goal, predictions = Goal(state.labels, state.targets, kind), answers(logits)
    is_reached = goal.is_reached(predictions)
    best = state.best.offer(state.images, predictions, is_reached, goal.missing(logits), state.is_open)
    is_clean = (step == 0) & (best.clean_predictions == NO_ANSWER)
    best = best._replace(
        num_iterations=tf.where(state.is_open, tf.cast(step, tf.int64), best.num_iterations),
        clean_predictions=tf.where(is_clean, predictions, best.clean_predictions),
    )
    return state._replace(is_open=state.is_open & ~(is_reached & early_stop), best=best)
