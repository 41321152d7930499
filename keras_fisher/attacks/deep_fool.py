"""DeepFool."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack import MinimumNormAttack, logits_of
from keras_fisher.attacks.attempt import WORST, Attempt, answers, state_of, take_steps
from keras_fisher.attacks.batch import Batch, margins
from keras_fisher.attacks.image_ops import (
    Bounds,
    clip_to,
    free_pixels,
    norms,
    per_image,
    unit,
    where_image,
)
from keras_fisher.checks import check_integer, check_real
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: Steps in one go of a compiled program.
_AT_ONCE = 5
#: Bisections that take the overshoot back.
_BISECTIONS = 5
#: A gap between logits that rounding may hide, relative and absolute.
_TIE = 1e-6


class _State(NamedTuple):
    images: Tensor  # (active, h, w, c) where the attack stands
    origins: Tensor  # (active, h, w, c)
    labels: Tensor  # (active,) int64
    rivals: Tensor  # (active, candidates − 1) int64, the other classes
    is_open: Tensor  # (active,) bool
    best: Attempt


@dataclasses.dataclass(frozen=True)
class DeepFool(MinimumNormAttack):
    """Steps to the nearest boundary of the linearised classifier, until the answer changes, l2.

    Each step costs one forward pass and one backward pass for each rival class, side by side.

    Args:
        clip: bool, default True. Keep the images within the classifier's bounds.
        steps: int, default 50. The most iterations.
        candidates: int, default 10. Classes considered, the label among them: those most probable at the
            image.
        overshoot: float, default 0.02. How much farther each step goes, as a share of the whole perturbation.
        relaxation: float, default 0.5. Share of the way to the nearest boundary that a step goes. 1 is the
            paper's; less follows the curvature, takes more steps and finds nearer images.

    Source: Moosavi-Dezfooli, Fawzi and Frossard 2016, "DeepFool: a simple and accurate method to fool deep
    neural networks", Algorithm 2. It reads logits, also under a softmax. We linearise within the bounds: a
    pixel that stands at a bound and would leave it has no part in a step. The overshoot is taken back at the
    end, by bisection, as far as the answer stays wrong.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.DeepFool()(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> bool(result.success.all())
        True
    """

    _: dataclasses.KW_ONLY
    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02
    relaxation: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, 1)
        check_integer("candidates", self.candidates, 2)
        check_real("overshoot", self.overshoot, 0.0, exclusive_minimum=True)
        check_real("relaxation", self.relaxation, 0.0, 1.0, exclusive_minimum=True)

    def search(self, classifier: Classifier, batch: Batch) -> Attempt:
        images = tf.convert_to_tensor(batch.images)
        state = _State(
            images=images,
            origins=images,
            labels=tf.convert_to_tensor(batch.labels),
            rivals=tf.convert_to_tensor(self._rivals(classifier, batch)),
            is_open=tf.fill([len(batch)], True),
            best=Attempt.none(images),
        )
        step, bounds = 0, self.limits(classifier.bounds)
        while step <= self.steps and np.any(state.is_open):
            # A few steps at once, one more than all: where the last one leads is looked at too.
            end = min(step + _AT_ONCE, self.steps + 1)
            numbers = (np.int32(step), np.int32(end), np.float64(self.overshoot), np.float64(self.relaxation))
            step, state = classifier.run(_take_steps, *tf.nest.flatten(state), *numbers, bounds=bounds)
            step = int(step)
            note(step / (self.steps + 1))
        best = state.best
        return self.shorten(classifier, batch, best, 1 / (1 + 2 * self.overshoot), _BISECTIONS)

    def _rivals(self, classifier: Classifier, batch: Batch) -> Array:
        """Returns (n, candidates − 1) the most probable classes but the label."""
        logits = np.array(logits_of(classifier, batch.images))
        logits[np.arange(len(logits)), batch.labels] = -np.inf
        count = min(self.candidates, classifier.num_classes) - 1
        return np.argsort(-logits, axis=-1, kind="stable")[:, :count]


def _take_steps(target: Target, *tensors: Tensor, bounds: Bounds | None) -> tuple[Tensor, _State]:
    """Returns the number of the next step and the state before it.

    Args:
        target: the net.
        tensors: those of the state; the numbers of the first step and of the one before which to end;
            overshoot and relaxation.
        bounds: that images are kept to.
    """
    *flat, first, last, overshoot, relaxation = tensors
    state: _State = state_of(_State, flat)

    def take_step(step: Tensor, state: _State) -> _State:
        directions, distances, logits = _nearest_boundary(target, state, bounds)
        predictions = answers(logits)
        is_fooled = (predictions != state.labels) & (predictions >= 0)
        # A wrong answer ends the search, so that the least margin is the right cost.
        margin = margins(logits, state.labels)
        best = state.best.offer(state.images, predictions, is_fooled, margin, state.is_open)
        number = tf.where(state.is_open, tf.cast(step, tf.int64), best.num_iterations)
        # Beyond the boundary by a share of the way so far, or the steps would close in on it for ever.
        lengths = relaxation * distances + overshoot * (norms(state.images - state.origins) + distances)
        lengths = tf.where(distances < WORST, lengths, tf.zeros_like(lengths))
        moved = clip_to(bounds, state.images + per_image(lengths, state.images) * directions)
        return state._replace(
            images=moved, is_open=state.is_open & ~is_fooled, best=best._replace(num_iterations=number)
        )

    return take_steps(take_step, first, last, state)


def _nearest_boundary(target: Target, state: _State, bounds: Bounds | None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns unit directions to the nearest boundaries, distances (n,), `WORST` for none, and logits."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(state.images)
        logits = target.logits(state.images)
    is_label = tf.one_hot(state.labels, logits.shape[1], dtype=logits.dtype)
    # No gap at all is a tie, which the label has won: it takes a step too.
    least_gap = _TIE * tf.reduce_max(tf.abs(tf.cast(logits, tf.float64)), axis=-1)
    distances = tf.fill(tf.shape(state.labels), tf.constant(WORST, tf.float64))
    directions = tf.zeros_like(state.images)
    for index in range(state.rivals.shape[1]):
        contrast = tf.one_hot(state.rivals[:, index], logits.shape[1], dtype=logits.dtype) - is_label
        # w = ∇(z_j − z_y), side by side for all rivals j; one forward pass for all.
        normal = tape.gradient(
            logits,
            state.images,
            output_gradients=contrast,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        normal = free_pixels(bounds, state.images, normal)
        gap = tf.maximum(tf.abs(tf.reduce_sum(tf.cast(logits * contrast, tf.float64), axis=-1)), least_gap)
        distance = tf.math.divide_no_nan(gap + _TIE, norms(normal))
        is_nearer = (distance > 0) & (distance < distances)  # zero for no gradient
        directions = where_image(is_nearer, unit(normal), directions)
        distances = tf.where(is_nearer, distance, distances)
    return directions, distances, logits
