"""Attacks that minimise distance plus a penalty, by Adam."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack import MinimumNormAttack, check_length, fixed
from keras_fisher.attacks.attempt import WORST, Attempt, answers, put, state_of, take
from keras_fisher.attacks.batch import Batch, Goal
from keras_fisher.attacks.directions import pull_back
from keras_fisher.attacks.image_ops import Bounds, free_pixels, norms
from keras_fisher.checks import check_flag, check_integer, check_real
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: Of Adam, as Kingma and Ba give them.
_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, 1e-8
#: Progress is checked so many times in a run of Adam, and must be at least so much.
_NUM_CHECKS, _PROGRESS = 10, 0.9999
#: Steps between two checks, at least.
_LEAST_LENGTH = 10
#: How far the bisections at the end may shorten a perturbation.
_LEAST_SHARE = 0.75
#: Of c, for distances in ranges of the pixels.
_SMALLEST_CONST, _LARGEST_CONST = 1e-8, 1e10


class Objective(abc.ABC):
    """What is minimised, and over which variables: a frozen dataclass, since programs are known by it.

    Args:
        bounds: that images are kept to, or None.
        unit_length: the range of pixels, by which distances are measured.
    """

    bounds: Bounds | None
    unit_length: float

    @abc.abstractmethod
    def to_variables(self, images: Tensor) -> Tensor:
        """Returns the variables of images (n, h, w, c)."""

    @abc.abstractmethod
    def to_images(self, variables: Tensor) -> tuple[Tensor, Tensor | float]:
        """Returns the images (n, h, w, c) of the variables, and their derivatives entry by entry.

        Where the variables are the pixels the derivative is `unit_length`: Adam is shown the gradient in
        units of the range, so that another scale of pixels changes nothing.
        """

    @abc.abstractmethod
    def clip_variables(self, variables: Tensor) -> Tensor:
        """Returns the variables within what the bounds allow."""

    @abc.abstractmethod
    def penalty(self, logits: Tensor, goal: Goal, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """Returns f (n,) and its gradient in the logits (n, classes), float64.

        Args:
            logits: (n, classes) float64.
            goal: of n images.
            confidence: scalar, by how much the logit of a wrong class must exceed the label's.
        """


class Assessment(NamedTuple):
    """The penalty f at images."""

    penalty: Tensor  # (n,) float64, f
    gradient: Tensor  # (n, h, w, c), of weight · f in the images
    missing: Tensor  # (n,) float64, what is missing of a success
    is_success: Tensor  # (n,) bool
    predictions: Tensor  # (n,) int64


class AdamState(NamedTuple):
    """The images at work, one row each."""

    origins: Tensor  # (active, h, w, c)
    labels: Tensor  # (active,) int64
    targets: Tensor  # (active,) int64
    const: Tensor  # (active,) float64, c, for distances in ranges of the pixels
    variables: Tensor  # (active, h, w, c) that Adam moves
    momentum: Tensor  # (active, h, w, c)
    squares: Tensor  # (active, h, w, c)
    has_success: Tensor  # (active,) bool, with this c
    least_loss: Tensor  # (active,) float64, with this c
    reference: Tensor  # (active,) float64, the least loss at the last check
    is_open: Tensor  # (active,) bool, its loss is still falling
    best: Attempt  # with any c


@dataclasses.dataclass(frozen=True)
class PenaltyAttack(MinimumNormAttack):
    """min ‖x' − x‖² + c · f(x'), by Adam, with a binary search for the least c that fools.

    A subclass gives f, and the variables that x' is made of, by its `objective`. An image whose loss has come
    to rest leaves its run of Adam, each by itself.

    Args:
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Seek the class that `targets` names.
        steps: int, default 1000. Of Adam, for each c.
        step_size: float, default None. Of Adam, in its variables.
        binary_search_steps: int, default 9. How many c are tried.
        initial_const: float, default None. The first c, in squared pixels; ten times more until it fools,
            then bisection. None takes for each image 2 f / ‖∇f‖² over the pixels that can move, what would do
            if f were linear.
        abort_early: bool, default True. Let images leave whose loss no longer falls, checked ten times in a
            run.
        confidence: float, default 0. By how much the logit of a wrong class must exceed the label's.
    """

    _: dataclasses.KW_ONLY
    steps: int = 1000
    step_size: float | None = None
    binary_search_steps: int = 9
    initial_const: float | None = None
    abort_early: bool = True
    confidence: float = fixed(0.0)

    #: Bisections of each perturbation at the end; they may leave `_LEAST_SHARE` of it.
    num_bisections: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, 1)
        check_length("step_size", self.step_size)
        check_integer("binary_search_steps", self.binary_search_steps, 1)
        check_length("initial_const", self.initial_const, 1e20)
        check_flag("abort_early", self.abort_early)
        check_real("confidence", self.confidence, 0.0)

    @abc.abstractmethod
    def objective(self, bounds: Bounds | None) -> Objective:
        """Returns what is minimised for pixels within these bounds."""

    @abc.abstractmethod
    def adam_step(self, bounds: Bounds | None) -> float:
        """Returns `step_size`, or what it is by default for pixels within these bounds."""

    @property
    def needs_confidence(self) -> bool:
        return self.confidence > 0

    def search(self, classifier: Classifier, batch: Batch) -> Attempt:
        goal, bounds = batch.goal, classifier.bounds
        numbers = (np.float64(self.adam_step(bounds)), np.float64(self.confidence))
        settings = {"kind": goal.kind, "objective": self.objective(bounds)}

        def first_const() -> Tensor:
            tensors = (batch.images, goal.labels, goal.targets, numbers[1])
            return classifier.run(_linear_const, *tensors, **settings)

        def run_adam(state: AdamState, begin: int, end: int) -> AdamState:
            span = (np.int32(begin), np.int32(end))
            return classifier.run(_run_adam, *tf.nest.flatten(state), *span, *numbers, **settings)

        best = self.search_const(batch, settings["objective"], first_const, run_adam)
        return self.shorten(classifier, batch, best, _LEAST_SHARE, self.num_bisections)

    def search_const(
        self,
        batch: Batch,
        objective: Objective,
        first_const: Callable[[], Tensor],
        run_adam: Callable[[AdamState, int, int], AdamState],
    ) -> Attempt:
        """Returns the best attempt over all c.

        Args:
            batch: n images.
            objective: what is minimised.
            first_const: returns (n,) c's to begin with.
            run_adam: takes a state from the first step given to the second, and closes the images whose loss
                has not fallen.
        """
        scale = objective.unit_length**2
        if self.initial_const is None:
            const = np.asarray(first_const())
        else:
            const = np.full(len(batch), self.initial_const / scale)
        lower, upper = np.zeros(len(batch)), np.full(len(batch), np.inf)
        best = Attempt.none(tf.convert_to_tensor(batch.images))
        for search_step in range(self.binary_search_steps):
            note(search_step / self.binary_search_steps)
            is_last = search_step == self.binary_search_steps - 1
            if is_last and self.binary_search_steps >= 10:
                const = np.minimum(upper, _LARGEST_CONST)  # as Carlini and Wagner: the best c once more
            state = self._minimise(start_state(batch, objective, const, best), run_adam)
            best, has_success = state.best, np.asarray(state.has_success)
            upper = np.where(has_success, const, upper)
            lower = np.where(has_success, lower, const)
            const = np.where(np.isinf(upper), np.minimum(10 * const, _LARGEST_CONST), 0.5 * (lower + upper))
        return best

    def _minimise(self, state: AdamState, run_adam: Callable[[AdamState, int, int], AdamState]) -> AdamState:
        """Returns the state at the end of a run of Adam."""
        # Adam's first steps, all of one length, may raise the loss before they lower it.
        length = max(math.ceil(self.steps / _NUM_CHECKS), _LEAST_LENGTH)
        for begin in range(0, self.steps + 1, length):
            rows = np.flatnonzero(state.is_open)
            if not rows.size:
                break
            # One more than the steps: where the last one leads is looked at too.
            end = min(begin + length, self.steps + 1)
            part = run_adam(take(state, rows), begin, end)
            spent = part.best.num_iterations + (min(end, self.steps) - begin)
            part = part._replace(best=part.best._replace(num_iterations=spent))
            if self.abort_early:
                part = part._replace(is_open=part.least_loss < _PROGRESS * part.reference)
            state = put(state, rows, part)
        return state


def start_state(batch: Batch, objective: Objective, const: Array, best: Attempt) -> AdamState:
    """Returns the state before the first step of a run of Adam."""
    goal, origins = batch.goal, tf.convert_to_tensor(batch.images)
    count, zeros = len(batch), tf.zeros_like(origins)
    worst = tf.fill([count], tf.constant(WORST, tf.float64))
    return AdamState(
        origins=origins,
        labels=tf.convert_to_tensor(goal.labels),
        targets=tf.convert_to_tensor(goal.targets),
        const=tf.convert_to_tensor(const),
        variables=objective.to_variables(origins),
        momentum=zeros,
        squares=zeros,
        has_success=tf.fill([count], False),
        least_loss=worst,
        reference=worst,
        is_open=tf.fill([count], True),
        best=best,
    )


def assess(
    target: Target, images: Tensor, goal: Goal, weight: Tensor, confidence: Tensor, objective: Objective
) -> Assessment:
    """Returns f at the images, with the gradient of weight (n,) · f."""
    penalty: Tensor = None

    def cotangents(logits: Tensor) -> Tensor:
        nonlocal penalty
        penalty, gradients = objective.penalty(tf.cast(logits, tf.float64), goal, confidence)
        return gradients * weight[:, None]

    gradient, logits = pull_back(target, images, cotangents)
    predictions, missing = answers(logits), goal.missing(logits) + confidence
    # A confidence of 0 asks for a wrong answer, which a tie is not.
    is_success = goal.is_reached(predictions) & ((missing < 0) | ((missing <= 0) & (confidence > 0)))
    return Assessment(penalty, gradient, missing, is_success, predictions)


def linear_const(found: Assessment, images: Tensor, objective: Objective) -> Tensor:
    """Returns (n,) c = 2 f / ‖∇f‖², which would do if f were linear; 1 where nothing moves f."""
    downhill = free_pixels(objective.bounds, images, -found.gradient)
    squares = tf.square(objective.unit_length * norms(downhill))
    const = tf.math.divide_no_nan(2 * found.penalty, squares)
    is_usable = tf.math.is_finite(const) & (squares > 0)
    return tf.where(is_usable, tf.clip_by_value(const, _SMALLEST_CONST, _LARGEST_CONST), tf.ones_like(const))


def _linear_const(
    target: Target,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    confidence: Tensor,
    *,
    kind: str,
    objective: Objective,
) -> Tensor:
    weight = tf.ones([tf.shape(images)[0]], tf.float64)
    found = assess(target, images, Goal(labels, targets, kind), weight, confidence, objective)
    return linear_const(found, images, objective)


def _run_adam(target: Target, *tensors: Tensor, kind: str, objective: Objective) -> AdamState:
    """Returns the state after the steps from one number to another.

    Args:
        target: the net.
        tensors: those of the state; the numbers of the first step and of the one after the last; the length
            of a step; the confidence.
        kind: of the goal.
        objective: what is minimised.
    """
    *flat, first, last, step_size, confidence = tensors
    state: AdamState = state_of(AdamState, flat)
    goal = Goal(state.labels, state.targets, kind)

    def take_step(index: Tensor, state: AdamState) -> tuple[Tensor, AdamState]:
        images, slopes = objective.to_images(state.variables)
        found = assess(target, images, goal, state.const, confidence, objective)
        return index + 1, adam_step(index, state, images, slopes, found, step_size, objective)

    state = state._replace(reference=state.least_loss)
    _, state = tf.while_loop(lambda index, _: index < last, take_step, (first, state))
    return state


def adam_step(
    index: Tensor,
    state: AdamState,
    images: Tensor,
    slopes: Tensor | float,
    found: Assessment,
    step_size: Tensor,
    objective: Objective,
) -> AdamState:
    """Returns the state after a step of Adam, with the images that it stands at offered to the best.

    Args:
        index: the number of the step, from 0.
        state: before it.
        images: (n, h, w, c) where Adam stands, and
        slopes: their derivatives in the variables, as `Objective.to_images` returns them.
        found: the penalty there; its gradient weighted by c.
        step_size: of Adam.
        objective: what is minimised.
    """
    dtype, unit_length = images.dtype, objective.unit_length
    offsets = images - state.origins
    lengths = norms(offsets)
    loss = tf.square(lengths / unit_length) + state.const * found.penalty
    # Nothing by the square of the range, which may be beyond float32.
    gradients = (2 * (offsets / unit_length) + unit_length * found.gradient) * (slopes / unit_length)
    cost = tf.where(found.is_success, lengths, found.missing)
    best = state.best.offer(images, found.predictions, found.is_success, cost)

    momentum = _DECAY * state.momentum + (1 - _DECAY) * gradients
    squares = _SQUARE_DECAY * state.squares + (1 - _SQUARE_DECAY) * tf.square(gradients)
    time = tf.cast(index + 1, dtype)
    corrected = momentum / (1 - _DECAY**time)
    spread = tf.sqrt(squares / (1 - _SQUARE_DECAY**time)) + _TINY
    variables = objective.clip_variables(state.variables - tf.cast(step_size, dtype) * corrected / spread)
    return state._replace(
        variables=tf.ensure_shape(variables, state.variables.shape),
        momentum=momentum,
        squares=squares,
        best=best,
        has_success=state.has_success | found.is_success,
        # At the start of a run, its first loss is what later ones are measured by.
        reference=tf.where(state.reference >= WORST, loss, state.reference),
        least_loss=tf.minimum(loss, state.least_loss),
    )
