"""The best perturbed images so far, and what an attack returns of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.image_ops import where_image
from keras_fisher.checks import KnowsKeywords
from keras_fisher.typing import Array, Tensor

State = TypeVar("State", bound=NamedTuple)

#: Finished images stay in the batch until they are one in so many.
_ONE_IN = 16
#: Stands for the answer of a classifier whose logits are not finite.
NO_ANSWER = -1
#: Stands for infinity in a graph, larger than any cost: TensorFlow's own check of numerics stops at infinity.
WORST = 1e300


class Attempt(NamedTuple):
    """The best perturbed image so far, of each image; tensors in a graph, arrays when it is done.

    A success is better than a failure, and of two successes or two failures the one of less cost.
    """

    #: (n, h, w, c) in the dtype of the model.
    images: Tensor
    #: (n,) int64, the classifier's answer at `images`; -1 where its logits are not finite.
    predictions: Tensor
    #: (n,) bool.
    is_success: Tensor
    #: (n,) float64: what an attack lowers, such as a norm, or what is missing of a success.
    cost: Tensor
    #: (n,) int64, iterations spent on each image; 1 for a single step.
    num_iterations: Tensor
    #: (n,) int64, the classifier's answer at the image as it was given.
    clean_predictions: Tensor

    @classmethod
    def none(cls, images: Tensor, clean_predictions: Tensor | None = None) -> Attempt:
        """Returns the images as they are, to which anything finite is better."""
        count = tf.shape(images)[0]
        no_answer = tf.fill([count], tf.constant(NO_ANSWER, tf.int64))
        return cls(
            images=images,
            predictions=no_answer if clean_predictions is None else clean_predictions,
            is_success=tf.fill([count], False),
            cost=tf.fill([count], tf.constant(WORST, tf.float64)),
            num_iterations=tf.zeros([count], tf.int64),
            clean_predictions=no_answer if clean_predictions is None else clean_predictions,
        )

    def offer(
        self, images: Tensor, predictions: Tensor, is_success: Tensor, cost: Tensor, mask: Tensor = True
    ) -> Attempt:
        """Returns this with those of the images that are better, where `mask` (n,) is True.

        What the classifier has no finite answer to is a failure that is no better than any.
        """
        has_answer = (predictions != NO_ANSWER) & ~tf.math.is_nan(cost)
        is_success &= has_answer
        cost = tf.where(has_answer, cost, tf.fill(tf.shape(cost), tf.constant(WORST, tf.float64)))
        is_better = mask & tf.where(is_success == self.is_success, cost < self.cost, is_success)
        return self._replace(
            images=where_image(is_better, images, self.images),
            predictions=tf.where(is_better, predictions, self.predictions),
            is_success=tf.where(is_better, is_success, self.is_success),
            cost=tf.where(is_better, cost, self.cost),
        )


def state_of(kind: Any, tensors: Sequence[Tensor]) -> Any:
    """Returns the state of this kind, a named tuple whose last field is an Attempt, from its flat tensors."""
    count = len(kind._fields) - 1
    return kind(*tensors[:count], Attempt(*tensors[count:]))


def take(state: State, rows: Tensor) -> State:
    """Returns these rows of all tensors of a state, in a graph or out of one."""
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), state)


def put(state: State, rows: Tensor, part: State) -> State:
    """Returns the state with these rows of all its tensors replaced, in a graph or out of one."""
    rows = tf.expand_dims(rows, 1)
    return tf.nest.map_structure(lambda old, new: tf.tensor_scatter_nd_update(old, rows, new), state, part)


def take_steps(
    take_step: Callable[[Tensor, State], State], first: Tensor, last: Tensor, state: State
) -> tuple[Tensor, State]:
    """Returns the number of the next step and the state before it, in a graph.

    Rows that a step has closed leave the batch, together when they are one in sixteen: each batch size has
    its set-up.

    Args:
        take_step: (number, state) → state, of any number of rows.
        first: the number of the first step.
        last: that of the step before which to end; the end comes sooner where no row is open.
        state: a named tuple of tensors with one row for each image, `is_open` (n,) bool among them.
    """

    def advance(step: Tensor, part: State) -> tuple[Tensor, State]:
        new = take_step(step, part)
        tf.nest.map_structure(lambda tensor, old: tensor.set_shape(old.shape), new, part)
        return step + 1, new

    def is_full(step: Tensor, part: Any) -> Tensor:
        num_closed = tf.math.count_nonzero(~part.is_open, dtype=tf.int32)
        return (step < last) & (_ONE_IN * num_closed <= tf.size(part.is_open))

    def work(step: Tensor, rows: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        part: Any = take(state, rows)
        step, part = tf.while_loop(is_full, advance, (step, part))
        return step, tf.boolean_mask(rows, part.is_open), put(state, rows, part)

    rows = tf.where(state.is_open)[:, 0]  # pyright: ignore[reportAttributeAccessIssue]
    shapes = tf.nest.map_structure(lambda tensor: tensor.shape, state)
    step, _, state = tf.while_loop(
        lambda step, rows, _: (step < last) & (tf.size(rows) > 0),
        work,
        (first, rows, state),
        shape_invariants=(first.shape, tf.TensorShape([None]), shapes),
    )
    return step, state


def answers(logits: Tensor) -> Tensor:
    """Returns (n,) int64, the classes of the largest logits; -1 where one is not finite."""
    is_finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
    return tf.where(is_finite, tf.argmax(logits, axis=-1), tf.constant(NO_ANSWER, tf.int64))


def to_arrays(records: Any) -> Any:
    """Returns the same record, or nest of records, with arrays in place of tensors."""
    return tf.nest.map_structure(np.array, records)


def concatenate(records: list[Any]) -> Any:
    """Returns the records of successive batches as one."""
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *records)


@dataclasses.dataclass(frozen=True, repr=False)
class AttackResult(KnowsKeywords):
    """Perturbed images, one for each image given, successful or not."""

    #: (n, h, w, c) in the dtype of the model; within the classifier's bounds if the attack clips. Where the
    #: attack failed, its best attempt.
    images: Array
    #: (n,) bool: the classifier's answer at `images` is not the label; of a targeted attack: is the target.
    #: False where it gives no finite one.
    success: Array
    #: (n,) float64, realised l2 norm of the perturbation, after clipping, in units of the pixels.
    norms: Array
    #: (n,) int64, the classifier's answer at `images`; -1 where its logits are not finite.
    predictions: Array
    #: (n,) int64, iterations spent on each image: of one that left the batch early, until it was fooled.
    num_iterations: Array
    #: (n,) bool: the classifier's answer at the image given is its label; None where nobody asked.
    is_correct: Array | None = None

    @property
    def success_rate(self) -> float:
        """Successes over all images; NaN for none."""
        return _mean(self.success)

    @property
    def num_correct(self) -> int | None:
        """How many images the classifier answers right before the attack; None where nobody asked."""
        return None if self.is_correct is None else int(self.is_correct.sum())

    @property
    def success_rate_of_correct(self) -> float:
        """Successes over the images that the classifier answers right before the attack; NaN for none."""
        return float("nan") if self.is_correct is None else _mean(self.success[self.is_correct])

    @property
    def mean_norm(self) -> float:
        """Mean realised norm over the successes; NaN if there are none."""
        return _mean(self.norms[self.success])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._summary()})"

    def _summary(self) -> str:
        of_correct = "" if self.num_correct is None else f", num_correct={self.num_correct}"
        return (
            f"n={len(self.images)}{of_correct}, success_rate={self.success_rate:.3g}, "
            f"mean_norm={self.mean_norm:.4g}"
        )


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")
