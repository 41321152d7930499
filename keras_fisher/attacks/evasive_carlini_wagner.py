"""The attack of Carlini and Wagner on a classifier and its detector at once."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.attacks.carlini_wagner import CarliniWagner
from keras_fisher.attacks.detector_guide import log_odds_gradient
from keras_fisher.attacks.detector_oracle import Surrogate
from keras_fisher.attacks.gradients import per_image
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Tensor

#: What an image that is not fooled ranks behind: any that is, however sure the detector.
_BEHIND = 1e9


@dataclasses.dataclass(frozen=True)
class EvasiveCarliniWagner(CarliniWagner):
    """min ‖x' − x‖² + c · (f(x') + weight · max(log odds(x') + offset, 0)), f that of `CarliniWagner`.

    A success fools the classifier, and the surrogate with it. The other arguments are those of
    `CarliniWagner`.

    Args:
        surrogate: gives log odds.
        weight: of the detector's penalty.
        offset: of its log odds: confidence less the log odds of the threshold.
    """

    _: dataclasses.KW_ONLY
    surrogate: Surrogate
    weight: float
    offset: float

    @property
    def needs_confidence(self) -> bool:
        # An image that fools the classifier as it stands may still be detected.
        return True

    def assess(
        self, classifier: Classifier, images: Tensor, classes: Tensor, const: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        penalties, gradients, margin = super().assess(classifier, images, classes, const)
        log_odds, slopes = log_odds_gradient(self.surrogate, images)
        excess = log_odds + self.offset
        is_flagged = tf.cast(excess > 0, tf.float64)
        gradients += per_image(self.weight * const * is_flagged, images) * slopes
        is_fooled = margin <= 0 if self.margin_wanted > 0 else margin < 0
        missing = tf.where(is_fooled, excess, _BEHIND + margin)
        return penalties + self.weight * tf.maximum(excess, 0.0), gradients, missing
