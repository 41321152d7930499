"""Directions: where an attack steps to. An attack of one step or many is one of these functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.batch import Batch, Goal
from keras_fisher.attacks.image_ops import normal_images, norms, unit
from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers import Classifier, Target, class_odds
from keras_fisher.typing import Tensor

#: `direction(target, images, labels, seed)`, for use in a graph: where the loss −log p of the labels rises.
#:     target: a kf.classifiers.Target; `target.logits(images)` is the net.
#:     images: (n, h, w, c) where the attack stands.
#:     labels: (n,) int64; an attack on a target class passes that, and goes the other way.
#:     seed: (n, 2) int32, one for each image, for `tf.random.stateless_*`.
#: It returns (n, h, w, c) of unit l2 norm, zero where there is no direction; or (n, m, h, w, c), m guesses,
#: of which an attack of one step takes the best; or a pair of one of these and the (n, classes) logits at
#: `images`, which saves a forward pass. It stands at the top level of a module, or is an object of a frozen
#: dataclass: what it does depends on nothing else.
#: It may have more: `in_training`, a direction that takes its place in training, and
#: `has_static_shapes(num_classes)`, which returns False where XLA cannot compile it; and
#: `stages(num_classes)`, directions that are tried in turn, the next one for the images of which the third
#: value that it returns, (n,) bool, says that they have not settled.
Direction: TypeAlias = Callable[[Target, Tensor, Tensor, Tensor], Any]

#: By how much the norm of a direction may be off.
_TOLERANCE = 1e-3


def loss_ascent_direction(
    target: Target, images: Tensor, labels: Tensor | None, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the unit direction of ∇ₓ(−log p_y), and the logits; labels of None are the answers.

    The gradient in the logits is p − e_y. Float32 rounds p_y − 1 to nothing where the classifier is sure, and
    what is left points elsewhere. Here it is formed from differences of logits.
    """
    gradients, logits = loss_gradient(target, images, labels)
    return unit(gradients), logits


def float32_loss_ascent_direction(
    target: Target, images: Tensor, labels: Tensor | None, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the same by the cross-entropy as TensorFlow forms it in the model's precision."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = target.logits(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels_or_predictions(labels, logits), logits)
    gradients = tape.gradient(loss, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return unit(gradients), logits


def random_direction(target: Target, images: Tensor, labels: Tensor | None, seed: Tensor) -> Tensor:
    """Returns uniformly random unit directions, by the seeds alone."""
    return unit(normal_images(images, seed))


def loss_gradient(target: Target, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns ∇ₓ(−log p_y) / (1 − p_y), the gradient on a scale that does not vanish, and the logits."""

    def cotangents(logits: Tensor) -> Tensor:
        return class_odds(logits, labels_or_predictions(labels, logits)).loss_gradient

    return pull_back(target, images, cotangents)


def pull_back(
    target: Target, images: Tensor, cotangents: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Returns Jᵀ w (n, h, w, c) and the logits z, with w = cotangents(z) (n, classes)."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = target.logits(images)
    weights = tf.cast(cotangents(logits), logits.dtype)
    gradients = tape.gradient(
        logits, images, output_gradients=weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return gradients, logits


@suggests_keywords
def labels_or_predictions(labels: Tensor | None, logits: Tensor) -> Tensor:
    """Returns the labels (n,) int64, or the classes of the largest logits where they are None."""
    return tf.argmax(logits, axis=-1) if labels is None else tf.cast(labels, tf.int64)


class Found(NamedTuple):
    """What a direction returned, in one form."""

    directions: Tensor  # (n, m, h, w, c), zero where they were not finite
    logits: Tensor  # (n, classes)
    is_settled: Tensor  # (n,) bool


def find_directions(
    direction: Direction, target: Target, images: Tensor, labels: Tensor | None, seed: Tensor
) -> Found:
    """Returns the directions of the images, in a graph.

    Raises:
        ValueError: directions of another shape; raised while the graph is made.
    """
    if labels is None and not _is_ours(direction):
        labels = labels_or_predictions(None, target.logits(images))
    found = direction(target, images, labels, seed)
    found = found if isinstance(found, tuple) else (found,)
    directions, logits, is_settled = (*found, None, None)[:3]
    directions = tf.cast(directions, images.dtype)
    if directions.shape.rank == images.shape.rank:
        directions = directions[:, None]
    if directions.shape.rank != images.shape.rank + 1 or not directions.shape[2:].is_compatible_with(
        images.shape[1:]
    ):
        sides = ", ".join(str(side) for side in images.shape[1:])
        rule = f"return (n, {sides}) or (n, m, {sides})"
        raise ValueError(message("direction", rule, tuple(directions.shape)))
    # A net may have infinite slopes: no direction is better than a wrong one. `unit` sees to it itself.
    if direction not in (loss_ascent_direction, float32_loss_ascent_direction, random_direction):
        pixels = list(range(2, directions.shape.rank))
        mask = tf.math.is_finite(tf.reduce_sum(directions, axis=pixels, keepdims=True))
        directions = tf.where(mask, directions, tf.zeros_like(directions))
    return Found(
        directions,
        target.logits(images) if logits is None else logits,
        tf.fill(tf.shape(images)[:1], True) if is_settled is None else is_settled,
    )


def find_direction(
    direction: Direction, target: Target, images: Tensor, goal: Goal, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns (n, h, w, c) directions towards the goal, for a small step, and the logits.

    Raises:
        ValueError: several directions for an image; raised while the graph is made.
    """
    found = find_directions(direction, target, images, goal.classes, seed)
    if found.directions.shape[1] != 1:
        rule = "return one direction for an image in an iterative attack"
        raise ValueError(message("direction", rule, found.directions.shape[1]))
    directions = found.directions[:, 0]
    return (directions if goal.sign > 0 else -directions), found.logits


def stages(direction: Direction, num_classes: int) -> list[Direction]:
    """Returns the directions that a call tries in turn, on the images that have not settled."""
    ask = getattr(direction, "stages", None)
    return [direction] if ask is None else ask(num_classes)


def in_training(direction: Direction) -> Direction:
    """Returns the direction that takes the place of this one in training, of sizes that are known before."""
    return getattr(direction, "in_training", direction)


def has_static_shapes(direction: Direction, num_classes: int) -> bool:
    """Returns whether XLA compiles it: training knows all sizes but that of the batch before a run."""
    ask = getattr(in_training(direction), "has_static_shapes", None)
    return True if ask is None else ask(num_classes)


def check_is_pure(direction: Any) -> None:
    """Refuses a direction that could change without its name or settings changing: programs know it by them.

    Raises:
        TypeError: it cannot be called.
        ValueError: a function that closes over something, or an object that cannot be hashed.
    """
    rule = "be a function at the top level of a module, or an object of a frozen dataclass with `__call__`"
    if not callable(direction):
        raise TypeError(message("direction", rule, repr(direction)))
    is_open = getattr(direction, "__closure__", None) is not None or isinstance(direction, type)
    if is_open or type(direction).__hash__ is None:
        raise ValueError(message("direction", rule, repr(direction)))


def check_direction(direction: Direction, classifier: Classifier, batch: Batch) -> None:
    """Tries a direction that is not of this library on two images.

    Raises:
        ValueError: not of unit norm, or of another shape than images.
    """
    if _is_ours(direction):
        return
    images, seeds = batch.images[:2], batch.seeds(0)[:2]
    lengths = classifier.run(_norms_of, images, batch.goal.classes[:2], seeds, direction=direction).numpy()
    off = np.abs(lengths - 1) > _TOLERANCE
    if (off & (lengths > 0)).any():
        remedy = "An attack multiplies it by its epsilon or step_size. kf.attacks.unit(images) scales it."
        found = f"norms of {', '.join(f'{length:.4g}' for length in lengths.ravel())}"
        raise ValueError(message("direction", "have unit l2 norm, or be zero", found, remedy))


def _norms_of(
    target: Target, images: Tensor, labels: Tensor, seed: Tensor, *, direction: Direction
) -> Tensor:
    """Returns (n · m,) float64."""
    directions = find_directions(direction, target, images, labels, seed).directions
    return norms(tf.reshape(directions, tf.concat([[-1], tf.shape(images)[1:]], axis=0)))


def _is_ours(direction: Direction) -> bool:
    return str(getattr(direction, "__module__", "")).startswith("keras_fisher.")
