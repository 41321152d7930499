"""What an attack returns."""

from __future__ import annotations

import dataclasses

from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """Perturbed images, one for each image given, successful or not."""

    #: (n, h, w, c) in the dtype of the model; within the classifier's bounds if the attack clips. Where the
    #: attack failed, its best attempt.
    images: Array
    #: (n,) bool: the classifier's answer at `images` is not the label; of a targeted attack: is the target.
    success: Array
    #: (n,) float64, realised l2 norm of the perturbation, after clipping, in units of the pixels.
    norms: Array
    #: (n,) int64, the classifier's answer at `images`.
    predictions: Array
    #: (n,) int64, iterations spent on each image: of one that left the batch early, until it was fooled.
    num_iterations: Array

    @property
    def success_rate(self) -> float:
        """Successes over all images; NaN for none."""
        return float(self.success.mean()) if len(self.success) else float("nan")

    @property
    def mean_norm(self) -> float:
        """Mean realised norm over the successes; NaN if there are none."""
        return float(self.norms[self.success].mean()) if self.success.any() else float("nan")
