"""Noise, the control of every attack."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import unit_rows
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.checks import check_integer
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class RandomNoise(OneStepAttack):
    """One step of length epsilon in a uniformly random direction.

    The control of every attack, and the noisy negatives of the detector (Zhao et al. 2019, section 4).

    Args:
        epsilon: l2 norm of the noise.
        clip: keep the images within the classifier's bounds.
        seed: with the position of an image it determines its noise, whatever the batch size.
    """

    _: dataclasses.KW_ONLY
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("seed", self.seed, 0)

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        return random_directions(chunk, self.seed)[:, None]


def random_directions(chunk: Chunk, *seed: int) -> Array:
    """Returns (n, h, w, c) uniformly random unit vectors, by the seed and the position of each image."""
    shape = chunk.images.shape[1:]
    noise = [np.random.default_rng([*seed, place]).standard_normal(shape) for place in chunk.positions]
    return unit_rows(np.stack(noise))
