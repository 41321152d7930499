"""Attacks that take one step along a direction."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import numpy as np

from keras_fisher.attacks.attack import Attack
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.judgement import answers
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class OneStepAttack(Attack):
    """x + epsilon · d with a unit direction d that does not depend on epsilon.

    A subclass writes `prepare`, which returns the directions: (n, h, w, c), unit l2 norm, or zero for none.
    """

    #: Whether −d is as good a guess as d: the end with the larger loss is taken, anew at every epsilon.
    has_either_sign: ClassVar[bool] = False

    @abc.abstractmethod
    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        """Returns (n, h, w, c) unit directions."""

    def perturb(self, classifier: Classifier, chunk: Chunk, prepared: Array, epsilon: Array) -> Array:
        lengths = epsilon.reshape(-1, *([1] * (prepared.ndim - 1)))
        steps = (lengths * prepared).astype(chunk.images.dtype)
        ahead = self.restrict(classifier, chunk.images + steps)
        if not self.has_either_sign:
            return ahead
        behind = self.restrict(classifier, chunk.images - steps)
        _, log_odds_ahead = answers(classifier, ahead, chunk.labels)
        _, log_odds_behind = answers(classifier, behind, chunk.labels)
        is_worse_behind = log_odds_behind < log_odds_ahead
        return np.where(is_worse_behind.reshape(lengths.shape), behind, ahead)
