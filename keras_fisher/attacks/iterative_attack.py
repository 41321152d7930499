"""Attacks that take many small steps within a ball."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.fixed_epsilon_attack import FixedEpsilonAttack
from keras_fisher.attacks.gradients import norms, or_answers, per_image, where_image
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.judgement import margins
from keras_fisher.attacks.rows import Rows
from keras_fisher.checks import check_flag, check_integer, check_real
from keras_fisher.classifiers import Classifier
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: Settings that are data of a step, or of no concern to it: a search over them traces nothing anew.
_DATA = ("epsilon", "steps", "step_size", "early_stop", "random_start", "restarts", "seed", "target")


class _State(NamedTuple):
    """The images at work, one row each."""

    images: Tensor  # (active, h, w, c) where the attack stands
    origins: Tensor  # (active, h, w, c) the centres of the balls
    classes: Tensor  # (active,) int64, whose probability is changed
    judged: Tensor  # (active,) int64, whose margin decides: the target, or the label
    epsilon: Tensor  # (active,) float64
    step_size: Tensor  # (active,) float64


@dataclasses.dataclass(frozen=True)
class IterativeAttack(FixedEpsilonAttack):
    """x ← P(x + step_size · d(x)), with P the projection on the ball of radius epsilon, then on the bounds.

    A subclass writes `direction`. An image leaves the batch as soon as it is fooled, so that the cost follows
    what is left. Of an image that never is, the iterate nearest to a wrong answer is kept.

    Args:
        epsilon: l2 radius of the ball.
        clip: keep the images within the classifier's bounds.
        targeted: only the target is a success.
        steps: the most iterations.
        step_size: l2 norm of one step; None is 2.5 · epsilon / steps, with which all of the ball is in reach
            (Madry et al. 2018).
        early_stop: let an image leave as soon as it is fooled. False goes on to the largest margin.
    """

    _: dataclasses.KW_ONLY
    steps: int = 20
    step_size: float | None = None
    early_stop: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, 1)
        if self.step_size is not None:
            check_real("step_size", self.step_size, 0.0, exclusive_minimum=True)
        check_flag("early_stop", self.early_stop)

    @abc.abstractmethod
    def direction(
        self, classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns (n, h, w, c) unit directions and the (n, classes) logits at `images`, in a graph.

        Args:
            classifier: the target.
            images: (n, h, w, c) where the attack stands.
            classes: (n,) the targets, to be made likely, or without targets the labels, to be made unlikely.
        """

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Any:
        return None

    def perturb(self, classifier: Classifier, chunk: Chunk, prepared: Any, epsilon: Array) -> Attempt:
        best = BestAttempt(chunk)
        self.descend(classifier, chunk, chunk.images, epsilon, best)
        return best.attempt(classifier, chunk)

    def descend(
        self, classifier: Classifier, chunk: Chunk, start: Array, epsilon: Array, best: BestAttempt
    ) -> None:
        """Takes all steps from `start` (n, h, w, c) on, and offers every iterate to `best`.

        The score is the margin of the label over the others, or that of the others over the target: negative
        where the attack has succeeded.
        """
        step_size = self.step_lengths(epsilon)
        judged = chunk.targets if chunk.only_targets else chunk.labels
        arrays = (start, chunk.images, chunk.classes, judged, epsilon, step_size)
        rows = Rows(_State(*(tf.convert_to_tensor(array) for array in arrays)), len(start))
        for iteration in range(self.steps + 1):
            note(iteration / (self.steps + 1))
            is_last = iteration == self.steps
            images = rows.state.images
            moved, margin, prediction = self._advance(classifier, chunk, rows.state, is_last)
            positions = rows.positions[rows.is_open]
            score = -margin if chunk.only_targets else margin
            best.offer(positions, images.numpy()[rows.is_open], score[rows.is_open])
            fooled = chunk.is_fooled(prediction, rows.positions)
            if is_last:
                break
            best.num_iterations[positions] += ~fooled[rows.is_open] if self.early_stop else 1
            rows.state = rows.state._replace(images=moved)
            if self.early_stop:
                rows.finish(fooled)
                if not rows:
                    break

    def step_lengths(self, epsilon: Array) -> Array:
        """Returns (n,) float64, the l2 norm of a step in balls of these radii."""
        if self.step_size is not None:
            return np.full(len(epsilon), float(self.step_size))
        return 2.5 * epsilon / self.steps

    def perturb_tensor(
        self,
        classifier: Classifier | GraphTarget,
        images: Tensor,
        classes: Tensor | None,
        epsilon: Tensor,
        seed: Tensor,
    ) -> Tensor:
        if not self.works_on_tensors:
            return super().perturb_tensor(classifier, images, classes, epsilon, seed)
        if classes is None:
            classes = or_answers(None, classifier.parameters(images))
        step_size = tf.zeros_like(epsilon) + self.step_size if self.step_size else 2.5 * epsilon / self.steps

        def step(iteration: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
            directions, _ = self.direction(classifier, moved, classes)
            moved = self.move(classifier, moved, images, directions, epsilon, step_size)
            return iteration + 1, tf.ensure_shape(moved, images.shape)

        start = self.start_tensor(classifier, images, epsilon, seed)
        _, moved = tf.while_loop(lambda iteration, _: iteration < self.steps, step, (0, start))
        return moved

    def start_tensor(
        self, classifier: Classifier | GraphTarget, images: Tensor, epsilon: Tensor, seed: Tensor
    ) -> Tensor:
        """Returns where `perturb_tensor` starts: the images (n, h, w, c) themselves."""
        return images

    def move(
        self,
        classifier: Classifier | GraphTarget,
        images: Tensor,
        origins: Tensor,
        directions: Tensor,
        epsilon: Tensor,
        step_size: Tensor,
    ) -> Tensor:
        """Returns the images (n, h, w, c) after a step, within the ball and the bounds, in a graph.

        Args:
            classifier: has the bounds.
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
        return self.restrict_tensor(classifier, images)

    def _advance(
        self, classifier: Classifier, chunk: Chunk, state: _State, is_last: bool
    ) -> tuple[Tensor, Array, Array]:
        """Returns the next images, and the margin and the answer at the present ones."""

        def advance(images, origins, classes, judged, epsilon, step_size):
            if is_last:
                directions, logits = None, classifier.parameters(images)
            else:
                directions, logits = self.direction(classifier, images, classes)
                images = self.move(classifier, images, origins, directions, epsilon, step_size)
            return images, margins(logits, judged), tf.argmax(logits, axis=-1)

        vector = tf.TensorSpec([None], tf.float64)
        index = tf.TensorSpec([None], tf.int64)
        specification = tf.TensorSpec([None, *chunk.images.shape[1:]], classifier.image_dtype)
        # Whatever a subclass adds may be read by its direction, and is part of the key.
        names = [field.name for field in dataclasses.fields(self) if field.name not in _DATA]
        settings = tuple((name, getattr(self, name)) for name in names)
        key = ("advance", type(self), settings, is_last)
        program = classifier.program(
            key, advance, chunk.images.shape[1:], specification, index, index, vector, vector
        )
        moved, margin, prediction = program(*state)
        return moved, margin.numpy(), prediction.numpy()
