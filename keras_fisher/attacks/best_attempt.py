"""The best of the perturbed images that an attack has come by."""

from __future__ import annotations

import numpy as np

from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.judgement import answers
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


class BestAttempt:
    """For each image of a chunk, the perturbed image with the least score so far.

    Args:
        chunk: the images; each is its own best attempt until another is offered.
    """

    def __init__(self, chunk: Chunk) -> None:
        self.images: Array = chunk.images.copy()
        #: (n,) float64
        self.scores: Array = np.full(len(chunk.images), np.inf)
        #: (n,) int64
        self.num_iterations: Array = np.zeros(len(chunk.images), np.int64)

    def offer(self, positions: Array, images: Array, scores: Array) -> None:
        """Keeps those of the images (m, h, w, c) at `positions` whose score is no worse than the best."""
        better = scores <= self.scores[positions]
        self.images[positions[better]] = images[better]
        self.scores[positions[better]] = scores[better]

    def attempt(self, classifier: Classifier, chunk: Chunk) -> Attempt:
        """Returns the best of each image, with what the classifier makes of it."""
        predictions, _ = answers(classifier, self.images, chunk.classes)
        return Attempt(self.images, predictions, self.num_iterations)
