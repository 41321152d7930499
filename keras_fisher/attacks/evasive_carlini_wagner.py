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


#: The detector's penalty where the classifier does not err yet, in nats: that of a detector quite sure.
_UNSEEN = 10.0


@dataclasses.dataclass(frozen=True)
class EvasiveCarliniWagner(CarliniWagner):
    """min ‖x' − x‖² + c · (f(x') + weight · g(x')), f that of `CarliniWagner`.

    g = max(log odds(x') + offset, 0) where the classifier errs. Where it does not yet, g is a constant: a
    detector objects most at the boundary between two classes, and its slope would keep the image from it. A
    success fools the classifier, and the surrogate with it. The other arguments are those of `CarliniWagner`.

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
        # Above what any flagged image has: one that comes to err is not to seem worse for it.
        return self._assess(classifier, images, classes, const, _UNSEEN)

    def assess_start(
        self, classifier: Classifier, images: Tensor, classes: Tensor, const: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self._assess(classifier, images, classes, const, 0.0)

    def _assess(
        self, classifier: Classifier, images: Tensor, classes: Tensor, const: Tensor, unseen: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what `assess` does; the detector objects by `unseen` where the classifier is right."""
        penalties, gradients, margin = super().assess(classifier, images, classes, const)
        log_odds, slopes = log_odds_gradient(self.surrogate, images)
        excess = log_odds + self.offset
        is_fooled = margin <= 0 if self.margin_wanted > 0 else margin < 0
        is_flagged = tf.cast(is_fooled & (excess > 0), tf.float64)
        gradients += per_image(self.weight * const * is_flagged, images) * slopes
        missing = tf.where(is_fooled, excess, _BEHIND + margin)
        objection = tf.where(is_fooled, tf.maximum(excess, 0.0), tf.constant(unseen, tf.float64))
        return penalties + self.weight * objection, gradients, missing
