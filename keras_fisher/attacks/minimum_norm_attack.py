"""Attacks that look for the least perturbation."""

from __future__ import annotations

import abc
import dataclasses
from typing import final

import numpy as np

from keras_fisher.attacks.attack import Attack
from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.judgement import answers
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class MinimumNormAttack(Attack):
    """An attack without a budget: it looks for the nearest image that fools the classifier, l2.

    A subclass writes `search`. An image that needs no perturbation gets none.
    """

    @property
    def needs_confidence(self) -> bool:
        """Whether a wrong answer alone is not enough."""
        return False

    @final
    def run(self, classifier: Classifier, chunk: Chunk) -> Attempt:
        best = BestAttempt(chunk)
        predictions, _ = answers(classifier, chunk.images, chunk.classes)
        still_open = np.flatnonzero(~chunk.is_fooled(predictions) | self.needs_confidence)
        if still_open.size:
            part = chunk.select(still_open)
            found = BestAttempt(part)
            self.search(classifier, part, found)
            best.images[still_open] = found.images
            best.num_iterations[still_open] = found.num_iterations
        return best.attempt(classifier, chunk)

    @abc.abstractmethod
    def search(self, classifier: Classifier, chunk: Chunk, best: BestAttempt) -> None:
        """Leaves in `best` the least perturbation found for each image, or the nearest to a success.

        Args:
            classifier: the target.
            chunk: n images, none fooled yet unless `needs_confidence`.
            best: its images and iterations are filled in, its scores are free to use.
        """

    def shorten(self, classifier: Classifier, chunk: Chunk, images: Array, least: float, times: int) -> Array:
        """Returns the images drawn back towards the originals as far as they stay successes.

        Args:
            classifier: the target.
            chunk: n originals.
            images: (n, h, w, c), some of them successes; the others are returned as they are.
            least: share of each perturbation to draw back to at most.
            times: the number of bisections, one forward pass each.
        """
        best = images.copy()
        offsets = images - chunk.images
        lower, upper = np.full(len(images), least), np.ones(len(images))
        for _ in range(times):
            middle = 0.5 * (lower + upper)
            factors = middle.astype(images.dtype).reshape(-1, *[1] * (images.ndim - 1))
            trial = chunk.images + factors * offsets
            is_fooled = chunk.is_fooled(answers(classifier, trial, chunk.classes)[0])
            best[is_fooled] = trial[is_fooled]
            lower, upper = np.where(is_fooled, lower, middle), np.where(is_fooled, middle, upper)
        return best
