"""Projected gradient descent."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.bim import BIM
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import per_image, unit
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.random_noise import random_directions
from keras_fisher.checks import check_flag, check_integer
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array, Tensor


@dataclasses.dataclass(frozen=True)
class PGD(BIM):
    """BIM from random points of the ball, several times if need be.

    Args:
        epsilon: l2 radius of the ball around each image.
        clip: keep the images within the classifier's bounds.
        targeted: down the loss of the class that `targets` names.
        steps: the most iterations from each start.
        step_size: l2 norm of one step; None is 2.5 · epsilon / steps.
        early_stop: let an image leave as soon as it is fooled. False goes on to the largest margin.
        random_start: start at a uniformly random point of the ball; False starts at the image.
        restarts: the number of starts. Images that are fooled are not started again if `early_stop`.
        seed: with the position of an image it determines its starts, whatever the batch size.

    Source: Madry, Makelov, Schmidt, Tsipras and Vladu 2018, "Towards deep learning models resistant to
    adversarial attacks", Eq. (2.1) and section 5.1, with the l2 norm.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.PGD(epsilon=2.0, steps=10, restarts=2)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    _: dataclasses.KW_ONLY
    random_start: bool = True
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("random_start", self.random_start)
        remedy = "" if self.random_start else "Without a random start all of them would be the same."
        check_integer("restarts", self.restarts, 1, None if self.random_start else 1, remedy)
        check_integer("seed", self.seed, 0)

    def perturb(self, classifier: Classifier, chunk: Chunk, prepared: Any, epsilon: Array) -> Attempt:
        best = BestAttempt(chunk)
        still_open = np.arange(len(chunk.images))
        for restart in range(self.restarts):
            part = chunk.select(still_open)
            found = BestAttempt(part)
            start = self._start(classifier, part, epsilon[still_open], restart)
            self.descend(classifier, part, start, epsilon[still_open], found)
            best.offer(still_open, found.images, found.scores)
            best.num_iterations[still_open] += found.num_iterations
            if self.early_stop:
                still_open = np.flatnonzero(best.scores >= 0)
                if not still_open.size:
                    break
        return best.attempt(classifier, chunk)

    def _start(self, classifier: Classifier, chunk: Chunk, epsilon: Array, restart: int) -> Array:
        """Returns points uniform in the ball: a random direction, and a radius by the volume within."""
        if not self.random_start:
            return chunk.images
        dimension = chunk.images[0].size
        radii = [
            np.random.default_rng([self.seed, restart, 1, place]).uniform() ** (1 / dimension)
            for place in chunk.positions
        ]
        lengths = (epsilon * radii).reshape(-1, *[1] * (chunk.images.ndim - 1))
        noise = lengths * random_directions(chunk, self.seed, restart, 0)
        return self.restrict(classifier, chunk.images + noise.astype(chunk.images.dtype))

    def start_tensor(
        self, classifier: Classifier | GraphTarget, images: Tensor, epsilon: Tensor, seed: Tensor
    ) -> Tensor:
        if not self.random_start:
            return images
        # As `_start` does, from other random numbers: here the whole batch has one stream.
        seeds = tf.random.split(tf.cast(seed, tf.int32), 2)
        dimension = images.shape[1:].num_elements()
        noise = tf.random.stateless_normal(tf.shape(images), seeds[0], dtype=images.dtype)
        radii = tf.random.stateless_uniform(tf.shape(epsilon), seeds[1], dtype=epsilon.dtype)
        lengths = epsilon * radii ** (1.0 / dimension)
        return self.restrict_tensor(classifier, images + per_image(lengths, images) * unit(noise))
