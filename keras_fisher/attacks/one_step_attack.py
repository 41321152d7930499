"""Attacks that take one step along a direction."""

from __future__ import annotations

import abc
import dataclasses
import itertools
from typing import ClassVar

import numpy as np

from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.fixed_epsilon_attack import FixedEpsilonAttack
from keras_fisher.attacks.judgement import answers
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


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
