"""Attacks that take one step along a direction."""

from __future__ import annotations

import abc
import dataclasses
import itertools
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.fixed_epsilon_attack import FixedEpsilonAttack
from keras_fisher.attacks.gradients import or_answers, per_image, where_image
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.judgement import answers
from keras_fisher.classifiers import Classifier, class_odds
from keras_fisher.typing import Array, Tensor


@dataclasses.dataclass(frozen=True)
class OneStepAttack(FixedEpsilonAttack):
    """x + epsilon · d with a unit direction d that does not depend on epsilon.

    A subclass writes `prepare`, which returns m candidates for the direction. The net is asked at the
    end of each, anew at every epsilon: a success is taken before a failure, then the larger loss.
    """

    #: Whether −d is as good a guess as d.
    has_either_sign: ClassVar[bool] = False

    @abc.abstractmethod
    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        """Returns (n, m, h, w, c) directions of unit l2 norm; zero for none."""

    def perturb(self, classifier: Classifier, chunk: Chunk, prepared: Array, epsilon: Array) -> Attempt:
        count = len(chunk.images)
        signs = (1.0, -1.0) if self.has_either_sign else (1.0,)
        best: Attempt | None = None
        least_odds = np.full(count, np.inf)
        for directions, sign in itertools.product(np.moveaxis(prepared, 1, 0), signs):
            images = self.step(classifier, chunk, directions, sign * epsilon)
            predictions, log_odds = answers(classifier, images, chunk.classes)
            attempt = Attempt(images, predictions, np.ones(count, np.int64))
            odds = log_odds if chunk.targets is None else -log_odds
            # A success before any failure: a label of lower probability may be the most probable class still.
            is_fooled = chunk.is_fooled(predictions)
            was_fooled = np.zeros(count, bool) if best is None else chunk.is_fooled(best.predictions)
            is_better = np.where(is_fooled == was_fooled, odds < least_odds, is_fooled)
            best = attempt if best is None else best.where(is_better, attempt)
            least_odds = np.where(is_better, odds, least_odds)
        if best is None:
            raise ValueError(f"{type(self).__name__}.prepare returned no direction.")
        return best

    def step(self, classifier: Classifier, chunk: Chunk, directions: Array, lengths: Array) -> Array:
        """Returns x + length · d, within the bounds if the attack clips.

        Args:
            classifier: has the bounds.
            chunk: n images.
            directions: (n, h, w, c).
            lengths: (n,), negative for the other way.
        """
        factors = lengths.reshape(-1, *([1] * (chunk.images.ndim - 1)))
        moved = chunk.images + (factors * directions).astype(chunk.images.dtype)
        return self.restrict(classifier, moved)

    def directions(
        self, classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor | None, seed: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Returns what `prepare` returns, one tensor (n, h, w, c) a candidate, and the logits, in a graph.

        Written where `works_on_tensors`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not work on tensors.")

    def perturb_tensor(
        self,
        classifier: Classifier | GraphTarget,
        images: Tensor,
        classes: Tensor | None,
        epsilon: Tensor,
        seed: Tensor,
    ) -> Tensor:
        directions, logits = self.directions(classifier, images, classes, seed)
        signs = (1.0, -1.0) if self.has_either_sign else (1.0,)
        ends = [
            self.restrict_tensor(classifier, images + per_image(sign * epsilon, images) * direction)
            for direction, sign in itertools.product(directions, signs)
        ]
        best = ends[0]
        if len(ends) == 1:
            return best
        # All ends in one pass, judged as `perturb` does.
        classes = or_answers(classes, logits)
        logits = classifier.parameters(tf.concat(ends, axis=0))
        odds = class_odds(logits, tf.tile(classes, [len(ends)])).log_odds
        is_fooled = tf.argmax(logits, axis=-1) != tf.tile(classes, [len(ends)])
        best_odds, was_fooled = (tf.split(part, len(ends))[0] for part in (odds, is_fooled))
        for end, end_odds, end_fooled in zip(
            ends[1:], tf.split(odds, len(ends))[1:], tf.split(is_fooled, len(ends))[1:], strict=True
        ):
            is_better = tf.where(end_fooled == was_fooled, end_odds < best_odds, end_fooled)
            best = where_image(is_better, end, best)
            best_odds = tf.where(is_better, end_odds, best_odds)
            was_fooled = tf.where(is_better, end_fooled, was_fooled)
        return best
