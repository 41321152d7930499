"""What an attack on a classifier and its detector returns."""

from __future__ import annotations

import dataclasses

from keras_fisher.attacks import AttackResult
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class EvasionResult(AttackResult):
    """Perturbed images, with what the classifier and the detector make of them."""

    #: (n,) float64, the detector's own probability that each of `images` is adversarial; not a surrogate's.
    scores: Array
    #: (n,) bool: that probability is below the detector's threshold.
    undetected: Array
    #: (n,) int64, how often the detector was asked for the score of an image, during the attack.
    num_queries: Array

    @property
    def evaded(self) -> Array:
        """(n,) bool: the classifier errs and the detector does not notice."""
        return self.success & self.undetected

    @property
    def evasion_rate(self) -> float:
        """Images that fool both over all images; NaN for none."""
        return float(self.evaded.mean()) if len(self.evaded) else float("nan")

    @property
    def undetected_rate(self) -> float:
        """Images that the detector lets pass over all images, fooled or not; NaN for none."""
        return float(self.undetected.mean()) if len(self.undetected) else float("nan")

    def _summary(self) -> str:
        return f"{super()._summary()}, evasion_rate={self.evasion_rate:.3g}"
