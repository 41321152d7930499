"""Attacks that minimise distance plus a penalty, by Adam."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import norms, pull_back, where_image
from keras_fisher.attacks.judgement import margins
from keras_fisher.attacks.minimum_norm_attack import MinimumNormAttack
from keras_fisher.attacks.rows import Rows
from keras_fisher.checks import check_flag, check_integer, check_real
from keras_fisher.classifiers import Classifier
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: Of Adam, as Kingma and Ba give them.
_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, 1e-8
#: Progress is checked so many times in a run of Adam, and must be at least so much.
_NUM_CHECKS, _PROGRESS = 10, 0.9999
#: Steps between two checks, at least.
_LEAST_LENGTH = 10
_LARGEST_CONST = 1e10


class _State(NamedTuple):
    origins: Tensor  # (active, h, w, c)
    classes: Tensor  # (active,) int64
    const: Tensor  # (active,) float64, c
    variables: Tensor  # (active, h, w, c) that Adam moves
    momentum: Tensor  # (active, h, w, c)
    squares: Tensor  # (active, h, w, c)
    best: Tensor  # (active, h, w, c) the nearest success, or without one the least penalty
    least_norm: Tensor  # (active,) float64, of a success; infinite without
    least_margin: Tensor  # (active,) float64
    has_success: Tensor  # (active,) bool, with this c
    least_loss: Tensor  # (active,) float64, with this c


@dataclasses.dataclass(frozen=True)
class PenaltyAttack(MinimumNormAttack):
    """min ‖x' − x‖² + c · f(x'), by Adam, with a binary search for the least c that fools.

    A subclass writes f, and the variables that x' is made of. An image whose loss has come to rest leaves its
    run of Adam, each by itself.

    Args:
        clip: keep the images within the classifier's bounds.
        targeted: seek the class that `targets` names.
        steps: of Adam, for each c.
        step_size: of Adam, in its variables.
        binary_search_steps: how many c are tried.
        initial_const: the first c; ten times more until it fools, then bisection. None takes for each image
            2 f / ‖∇f‖² over the pixels that can move, what would do if f were linear.
        abort_early: let images leave whose loss no longer falls, checked ten times in a run.
    """

    _: dataclasses.KW_ONLY
    steps: int = 1000
    step_size: float = 0.01
    binary_search_steps: int = 9
    initial_const: float | None = None
    abort_early: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, 1)
        check_real("step_size", self.step_size, 0.0, exclusive_minimum=True)
        check_integer("binary_search_steps", self.binary_search_steps, 1)
        if self.initial_const is not None:
            check_real("initial_const", self.initial_const, 0.0, _LARGEST_CONST, exclusive_minimum=True)
        check_flag("abort_early", self.abort_early)

    @abc.abstractmethod
    def to_variables(self, classifier: Classifier, images: Tensor) -> Tensor:
        """Returns the variables of images (n, h, w, c)."""

    @abc.abstractmethod
    def to_images(self, classifier: Classifier, variables: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the images of the variables, and their derivatives entry by entry; both (n, h, w, c)."""

    @abc.abstractmethod
    def penalty(self, logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Returns f (n,) and its gradient in the logits (n, classes), float64.

        Args:
            logits: (n, classes) float64.
            classes: (n,) targets if `targeted`, else labels.
        """

    def assess(
        self, classifier: Classifier, images: Tensor, classes: Tensor, const: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns f (n,), the gradient of c · f (n, h, w, c), and what is missing of a success (n,).

        Args:
            classifier: the target.
            images: (n, h, w, c) where Adam stands.
            classes: (n,) targets if `targeted`, else labels.
            const: (n,) float64, c.
        """
        penalties: Tensor = None

        def cotangents(logits: Tensor) -> Tensor:
            nonlocal penalties
            penalties, gradients = self.penalty(tf.cast(logits, tf.float64), classes)
            return gradients * const[:, None]

        gradients, logits = pull_back(classifier, images, cotangents)
        margin = margins(logits, classes) * (-1.0 if self.targeted else 1.0) + self.margin_wanted
        return penalties, gradients, margin

    def assess_start(
        self, classifier: Classifier, images: Tensor, classes: Tensor, const: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what `assess` does, of the f that the first c is chosen by: what its gradient can lower."""
        return self.assess(classifier, images, classes, const)

    @property
    def margin_wanted(self) -> float:
        """By how much the logit of a wrong class must exceed the label's."""
        return 0.0

    @property
    def needs_confidence(self) -> bool:
        return self.margin_wanted > 0

    def search(self, classifier: Classifier, chunk: Chunk, best: BestAttempt) -> None:
        count = len(chunk.images)
        lower, upper = np.zeros(count), np.full(count, np.inf)
        const = self._initial_const(classifier, chunk)
        least_norm, least_margin = np.full(count, np.inf), np.full(count, np.inf)
        for search_step in range(self.binary_search_steps):
            note(search_step / self.binary_search_steps)
            is_last = search_step == self.binary_search_steps - 1
            if is_last and self.binary_search_steps >= 10:
                const = np.minimum(upper, _LARGEST_CONST)  # as Carlini and Wagner: the best c once more
            state = self._start(classifier, chunk, const, best.images, least_norm, least_margin)
            has_success = self._minimize(classifier, chunk, state, best, least_norm, least_margin)
            upper = np.where(has_success, const, upper)
            lower = np.where(has_success, lower, const)
            const = np.where(np.isinf(upper), np.minimum(10 * const, _LARGEST_CONST), 0.5 * (lower + upper))

    def _initial_const(self, classifier: Classifier, chunk: Chunk) -> Array:
        """Returns (n,) the first c of each image."""
        if self.initial_const is not None:
            return np.full(len(chunk.images), float(self.initial_const))

        def run(images: Tensor, classes: Tensor) -> Tensor:
            ones = tf.ones([tf.shape(images)[0]], tf.float64)
            penalties, gradients, _ = self.assess_start(classifier, images, classes, ones)
            downhill = self.free_pixels(classifier, images, -gradients)
            return 2 * penalties / tf.square(norms(downhill))

        key = ("initial_const", self._compiled_settings())
        program = classifier.program(key, run, chunk.images.shape[1:], tf.TensorSpec([None], tf.int64))
        const = program(*map(tf.convert_to_tensor, (chunk.images, chunk.classes))).numpy()
        # Infinite where nothing moves f.
        return np.where(np.isfinite(const), np.clip(const, 1e-8, _LARGEST_CONST), 1.0)

    def _start(
        self,
        classifier: Classifier,
        chunk: Chunk,
        const: Array,
        best: Array,
        least_norm: Array,
        least_margin: Array,
    ) -> _State:
        origins = tf.convert_to_tensor(chunk.images)
        zeros = tf.zeros_like(origins)
        return _State(
            origins=origins,
            classes=tf.convert_to_tensor(chunk.classes),
            const=tf.convert_to_tensor(const),
            variables=self.to_variables(classifier, origins),
            momentum=zeros,
            squares=zeros,
            best=tf.convert_to_tensor(best),
            least_norm=tf.convert_to_tensor(least_norm),
            least_margin=tf.convert_to_tensor(least_margin),
            has_success=tf.zeros([len(const)], tf.bool),
            least_loss=tf.fill([len(const)], tf.constant(np.inf, tf.float64)),
        )

    def _minimize(
        self,
        classifier: Classifier,
        chunk: Chunk,
        state: _State,
        best: BestAttempt,
        least_norm: Array,
        least_margin: Array,
    ) -> Array:
        """Runs Adam, updates the last three arguments in place, and returns (n,) where this c fools."""
        has_success = np.zeros(len(chunk.images), bool)
        rows = Rows(state, len(chunk.images))
        # Adam's first steps, all of one length, may raise the loss before they lower it.
        length = max(math.ceil(self.steps / _NUM_CHECKS), _LEAST_LENGTH)
        # One more than the steps: where the last one leads is looked at too.
        for begin in range(0, self.steps + 1, length):
            end = min(begin + length, self.steps + 1)
            rows.state, is_falling = self._run_adam(classifier, rows.state, begin, end)
            # Rows that have finished may still be in the batch: what they find there is not theirs any more.
            positions, is_open, state = rows.positions[rows.is_open], rows.is_open, rows.state
            best.images[positions] = state.best.numpy()[is_open]
            least_norm[positions] = state.least_norm.numpy()[is_open]
            least_margin[positions] = state.least_margin.numpy()[is_open]
            has_success[positions] = state.has_success.numpy()[is_open]
            best.num_iterations[positions] += min(end, self.steps) - begin
            if self.abort_early:
                rows.finish(~is_falling.numpy())
                if not rows:
                    break
        return has_success

    def _run_adam(self, classifier: Classifier, state: _State, begin: int, end: int) -> tuple[_State, Tensor]:
        """Returns the state after the steps from `begin` to `end`, and (n,) whether the loss has fallen."""

        def run(*arguments: Tensor) -> tuple[_State, Tensor]:
            *tensors, first, last = arguments
            state = _State(*tensors)

            def step(index: Tensor, reference: Tensor, state: _State) -> tuple[Tensor, Tensor, _State]:
                loss, state = self._step(classifier, index, state)
                # At the start of a run, its first loss is what later ones are measured by.
                return index + 1, tf.where(tf.math.is_inf(reference), loss, reference), state

            _, reference, state = tf.while_loop(
                lambda index, *_: index < last, step, (first, state.least_loss, state)
            )
            return state, state.least_loss < _PROGRESS * reference

        specifications = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in state]
        number = tf.TensorSpec([], tf.int32)
        program = classifier.program(
            ("adam", self._compiled_settings()),
            run,
            tuple(state.origins.shape[1:]),
            *specifications[1:],
            number,
            number,
        )
        return program(*state, tf.constant(begin), tf.constant(end))

    def _compiled_settings(self) -> PenaltyAttack:
        """Returns the attack with those settings alone that a program reads: how long Adam runs is data."""
        return dataclasses.replace(self, steps=1, binary_search_steps=1, initial_const=1.0, abort_early=True)

    def _step(self, classifier: Classifier, index: Tensor, state: _State) -> tuple[Tensor, _State]:
        """Returns the loss (n,) at the variables, and the state after a step of Adam from them."""
        images, slopes = self.to_images(classifier, state.variables)
        penalties, gradients, margin = self.assess(classifier, images, state.classes, state.const)
        offsets = images - state.origins
        lengths = norms(offsets)
        loss = tf.square(lengths) + state.const * penalties
        gradients = (2 * offsets + gradients) * slopes

        # κ = 0 asks for a wrong answer, which a tie is not.
        is_success = margin <= 0 if self.margin_wanted > 0 else margin < 0
        has_none = tf.math.is_inf(state.least_norm)
        is_better = tf.where(is_success, lengths < state.least_norm, has_none & (margin < state.least_margin))

        momentum = _DECAY * state.momentum + (1 - _DECAY) * gradients
        squares = _SQUARE_DECAY * state.squares + (1 - _SQUARE_DECAY) * tf.square(gradients)
        time = tf.cast(index + 1, images.dtype)
        corrected = momentum / (1 - _DECAY**time)
        scale = tf.sqrt(squares / (1 - _SQUARE_DECAY**time)) + _TINY
        return loss, state._replace(
            variables=self.restrict_variables(
                classifier, state.variables - self.step_size * corrected / scale
            ),
            momentum=momentum,
            squares=squares,
            best=where_image(is_better, images, state.best),
            least_norm=tf.where(is_success, tf.minimum(lengths, state.least_norm), state.least_norm),
            least_margin=tf.minimum(margin, state.least_margin),
            has_success=state.has_success | is_success,
            least_loss=tf.minimum(loss, state.least_loss),
        )

    def restrict_variables(self, classifier: Classifier, variables: Tensor) -> Tensor:
        """Returns the variables within what the bounds allow; the default: they need no such care."""
        return variables
