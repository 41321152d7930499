"""Projected gradient descent on a classifier and its detector by turns."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.adaptive.detector_oracle import DetectorOracle
from keras_fisher.adaptive.score_gradient import DetectorGuide
from keras_fisher.attacks import PGD, Attempt, Batch, unit
from keras_fisher.attacks.attempt import answers, put, take
from keras_fisher.attacks.batch import Goal
from keras_fisher.attacks.directions import Direction, find_direction
from keras_fisher.attacks.image_ops import Bounds, where_image
from keras_fisher.attacks.iterative_attack import best_of_starts, move
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.progress import note
from keras_fisher.typing import Array, Tensor

#: By how much a wrong logit leads before a step goes to the detector: a step there may undo as much.
_LEAD = 0.1
#: What an image that is not fooled ranks behind: any that is, however sure the detector.
BEHIND = 1e9


class _State(NamedTuple):
    """The images at work, one row each."""

    images: Tensor  # (active, h, w, c) where the attack stands
    origins: Tensor  # (active, h, w, c) the centres of the balls
    labels: Tensor  # (active,) int64
    targets: Tensor  # (active,) int64
    seeds: Tensor  # (active, 2) int32
    positions: Tensor  # (active,) int64, in what the caller passed
    epsilon: Tensor  # (active,) float64
    step_size: Tensor  # (active,) float64
    is_open: Tensor  # (active,) bool
    best: Attempt


@dataclasses.dataclass(frozen=True, eq=False)
class EvasivePGD:
    """PGD that goes for the classifier where it does not err yet, else for the detector.

    Of all iterates that fool the classifier it keeps the one that the detector itself, asked each time, finds
    least adversarial.

    Args:
        method: PGD, its settings.
        guide: finds the way to a clean look.
        oracle: the detector.
        weight: None for steps by turns; else a step goes along the classifier's direction, plus `weight`
            times the detector's where it objects, both of unit norm.
        confidence: by how much the detector's log odds are to lie below its threshold's.
    """

    method: PGD
    guide: DetectorGuide
    oracle: DetectorOracle
    weight: float | None
    confidence: float

    def attempt(self, classifier: Classifier, batch: Batch) -> Attempt:
        """Returns the best iterates of all starts, with arrays."""
        epsilon = np.full(len(batch), self.method.radius(classifier.bounds))
        return best_of_starts(
            batch,
            self.method.restarts,
            self.method.early_stop,
            lambda rows, restart: self._climb(classifier, batch.select(rows), epsilon[rows], restart),
        )

    def _climb(self, classifier: Classifier, batch: Batch, epsilon: Array, restart: int) -> Attempt:
        goal, origins = batch.goal, tf.convert_to_tensor(batch.images)
        start, clean_predictions = self.method.start(classifier, batch, epsilon, restart)
        state = _State(
            images=start,
            origins=origins,
            labels=goal.labels,
            targets=goal.targets,
            seeds=batch.seeds(self.method.seed),
            positions=batch.positions,
            epsilon=epsilon,
            step_size=self.method.step_lengths(epsilon),
            is_open=np.ones(len(batch), bool),
            best=Attempt.none(origins, clean_predictions),
        )
        state = tf.nest.map_structure(tf.convert_to_tensor, state)
        for step in range(self.method.steps + 1):
            note(step / (self.method.steps + 1))
            rows = np.flatnonzero(state.is_open)
            if not rows.size:
                break
            state = put(state, rows, self._take_step(classifier, take(state, rows), goal.kind, step))
        return state.best

    def _take_step(self, classifier: Classifier, state: _State, kind: str, step: int) -> _State:
        """Returns the state after a step; past the last one only its images are looked at."""
        uphill, missing, predictions = classifier.run(
            _towards_goal,
            *(state.images, state.labels, state.targets, state.seeds),
            kind=kind,
            direction=self.method.direction,
        )
        margin = missing.numpy()
        is_fooled = Goal(state.labels, state.targets, kind).is_reached(predictions).numpy()
        excess = self._ask(state, np.ones(len(margin), bool) if self.weight is not None else is_fooled)
        cost = np.where(is_fooled, excess, BEHIND + margin)
        is_done = (cost < 0) & self.method.early_stop
        best = state.best.offer(state.images, predictions, cost < 0, tf.constant(cost))
        spent = ~is_done & (step < self.method.steps)
        clean = best.clean_predictions if self.method.random_start or step > 0 else predictions
        best = best._replace(
            num_iterations=best.num_iterations + spent.astype(np.int64), clean_predictions=clean
        )
        if step < self.method.steps:
            # By turns, the detector's where the classifier errs; in a sum, where the detector objects.
            wants = margin < -_LEAD if self.weight is None else excess >= 0
            directions = self._turn(classifier, state, uphill, wants & ~is_done, step)
            moved = classifier.run(
                _move,
                *(state.images, state.origins, directions, state.epsilon, state.step_size),
                bounds=self.method.limits(classifier.bounds),
            )
            state = state._replace(images=moved)
        return state._replace(is_open=tf.constant(~is_done), best=best)

    def _ask(self, state: _State, mask: Array) -> Array:
        """Returns (n,) how much the detector's log odds exceed what is wanted, of the images where `mask`."""
        excess = np.full(len(mask), -np.inf)
        if mask.any():
            images, positions = (part.numpy()[mask] for part in (state.images, state.positions))
            excess[mask] = self.oracle.excess(positions, images) + self.confidence
        return excess

    def _turn(self, classifier: Classifier, state: _State, uphill: Tensor, mask: Array, step: int) -> Tensor:
        """Returns (n, h, w, c) the unit directions of the next step; the detector has a say where `mask`."""
        rows = np.flatnonzero(mask)
        if not rows.size:
            return uphill
        images, positions = tf.gather(state.images, rows), state.positions.numpy()[rows]
        found = self.guide.downhill(classifier.bounds, self.oracle, positions, images, step)
        clean = tf.tensor_scatter_nd_update(tf.zeros_like(uphill), rows[:, None], found)
        if self.weight is not None:
            return unit(uphill + tf.cast(self.weight, uphill.dtype) * clean)
        # Where the detector is flat: deeper into the wrong class, away from its boundary.
        has_way = tf.reduce_any(clean != 0, axis=list(range(1, clean.shape.rank)))
        return where_image(has_way, clean, uphill)


def _towards_goal(
    target: Target,
    images: Tensor,
    labels: Tensor,
    targets: Tensor,
    seeds: Tensor,
    *,
    kind: str,
    direction: Direction,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns directions of the attack on the classifier, what is missing of a success, and the answers."""
    goal = Goal(labels, targets, kind)
    directions, logits = find_direction(direction, target, images, goal, seeds)
    return directions, goal.missing(logits), answers(logits)


def _move(
    target: Target,
    images: Tensor,
    origins: Tensor,
    directions: Tensor,
    epsilon: Tensor,
    step_size: Tensor,
    *,
    bounds: Bounds | None,
) -> Tensor:
    return move(bounds, images, origins, directions, epsilon, step_size)
