"""What an attack makes of one chunk."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Perturbed images of one chunk, not yet judged."""

    #: (n, h, w, c) in the dtype of the model.
    images: Array
    #: (n,) int64, the classifier's answer at `images`.
    predictions: Array
    #: (n,) int64, iterations spent on each image; 1 for a single step.
    num_iterations: Array

    def where(self, mask: Array, other: Attempt) -> Attempt:
        """Returns `other` where `mask` (n,) is True, else this."""
        return Attempt(
            np.where(mask.reshape(-1, *[1] * (self.images.ndim - 1)), other.images, self.images),
            np.where(mask, other.predictions, self.predictions),
            np.where(mask, other.num_iterations, self.num_iterations),
        )

    def select(self, mask: Array) -> Attempt:
        """Returns the images where `mask` is True, or at these indices."""
        return Attempt(self.images[mask], self.predictions[mask], self.num_iterations[mask])

    def put(self, positions: Array, other: Attempt) -> None:
        """Writes the images and predictions of `other` to `positions`, in place."""
        self.images[positions] = other.images
        self.predictions[positions] = other.predictions
