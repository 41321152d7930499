"""Projected gradient descent on a classifier and its detector by turns."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.detector_guide import DetectorGuide
from keras_fisher.attacks.detector_oracle import DetectorOracle
from keras_fisher.attacks.gradients import unit_rows
from keras_fisher.attacks.judgement import margins
from keras_fisher.attacks.pgd import PGD
from keras_fisher.attacks.rows import Rows
from keras_fisher.classifiers import Classifier
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: By how much a wrong logit leads before a step goes to the detector: a step there may undo as much.
_LEAD = 0.1
#: What an image that is not fooled ranks behind: any that is, however sure the detector.
_BEHIND = 1e9


class _State(NamedTuple):
    """The images at work, one row each."""

    images: Tensor  # (active, h, w, c) where the attack stands
    origins: Tensor  # (active, h, w, c) the centres of the balls
    epsilon: Tensor  # (active,) float64
    step_size: Tensor  # (active,) float64


@dataclasses.dataclass(frozen=True)
class EvasivePGD(PGD):
    """PGD that goes for the classifier where it does not err yet, else for the detector.

    Of all iterates that fool the classifier it keeps the one that the detector itself, asked each time, finds
    least adversarial. The other arguments are those of `PGD`.

    Args:
        guide: finds the way to a clean look.
        oracle: the detector.
        weight: None for steps by turns; else a step goes along the classifier's direction, plus `weight`
            times the detector's where it objects, both of unit norm.
        confidence: by how much the detector's log odds are to lie below its threshold's.
    """

    _: dataclasses.KW_ONLY
    guide: DetectorGuide
    oracle: DetectorOracle
    weight: float | None
    confidence: float

    # It asks the detector outside of the graph.
    works_on_tensors: ClassVar[bool] = False

    def descend(
        self, classifier: Classifier, chunk: Chunk, start: Array, epsilon: Array, best: BestAttempt
    ) -> None:
        arrays = (start, chunk.images, epsilon, self.step_lengths(epsilon))
        rows = Rows(_State(*(tf.convert_to_tensor(array) for array in arrays)), len(start))
        for step in range(self.steps + 1):
            note(step / (self.steps + 1))
            part, images = chunk.select(rows.positions), rows.state.images.numpy()
            uphill, margin, predictions = self._of_classifier(classifier, part, images)
            # Rows that have finished may still be in the batch: nothing is asked about them any more.
            is_fooled = part.is_fooled(predictions) & rows.is_open
            excess = self._ask(part, images, rows.is_open if self.weight is not None else is_fooled)
            scores = np.where(is_fooled, excess, _BEHIND + margin)
            positions = rows.positions[rows.is_open]
            best.offer(positions, images[rows.is_open], scores[rows.is_open])
            if step == self.steps:
                break
            is_done = (scores < 0) & self.early_stop
            best.num_iterations[positions] += ~is_done[rows.is_open]
            # By turns, the detector's where the classifier errs; in a sum, where the detector objects.
            wants = margin < -_LEAD if self.weight is None else excess >= 0
            directions = self._turn(classifier, part, images, uphill, wants & rows.is_open & ~is_done, step)
            rows.state = rows.state._replace(images=self._move(classifier, rows.state, directions))
            rows.finish(is_done)
            if not rows:
                break

    def _of_classifier(
        self, classifier: Classifier, chunk: Chunk, images: Array
    ) -> tuple[Array, Array, Array]:
        """Returns the directions of `PGD`, the margins, negative where fooled, and the answers."""

        def run(images: Tensor, classes: Tensor, judged: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            directions, logits = self.direction(classifier, images, classes)
            return directions, margins(logits, judged), tf.argmax(logits, axis=-1)

        index = tf.TensorSpec([None], tf.int64)
        key = ("evasive_direction", self.targeted)
        program = classifier.program(key, run, images.shape[1:], index, index)
        judged = chunk.targets if chunk.only_targets else chunk.labels
        uphill, margin, predictions = program(*map(tf.convert_to_tensor, (images, chunk.classes, judged)))
        return uphill.numpy(), (-margin if chunk.only_targets else margin).numpy(), predictions.numpy()

    def _ask(self, chunk: Chunk, images: Array, mask: Array) -> Array:
        """Returns (n,) how much the detector's log odds exceed what is wanted, of the images where `mask`."""
        excess = np.full(len(images), -np.inf)
        if mask.any():
            excess[mask] = self.oracle.excess(chunk.positions[mask], images[mask]) + self.confidence
        return excess

    def _turn(
        self,
        classifier: Classifier,
        chunk: Chunk,
        images: Array,
        uphill: Array,
        mask: Array,
        step: int,
    ) -> Array:
        """Returns (n, h, w, c) the unit directions of the next step; the detector has a say where `mask`."""
        if not mask.any():
            return uphill
        clean = np.zeros_like(uphill)
        clean[mask] = self.guide.downhill(classifier, self.oracle, chunk.select(mask), images[mask], step)
        if self.weight is not None:
            return unit_rows(uphill + self.weight * clean).astype(uphill.dtype)
        # Where the detector is flat: deeper into the wrong class, away from its boundary.
        has_way = clean.reshape(len(clean), -1).any(axis=-1)
        return np.where(has_way.reshape(-1, *[1] * (clean.ndim - 1)), clean, uphill)

    def _move(self, classifier: Classifier, state: _State, directions: Array) -> Tensor:
        def run(images: Tensor, origins: Tensor, directions: Tensor, epsilon: Tensor, size: Tensor) -> Tensor:
            return self.move(classifier, images, origins, directions, epsilon, size)

        shape = directions.shape[1:]
        image = tf.TensorSpec([None, *shape], classifier.image_dtype)
        number = tf.TensorSpec([None], tf.float64)
        program = classifier.program(("evasive_move", self.clip), run, shape, image, image, number, number)
        directions = tf.convert_to_tensor(directions)
        return program(state.images, state.origins, directions, state.epsilon, state.step_size)
