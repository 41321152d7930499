"""What can stand for a detector where gradients are needed."""

from __future__ import annotations

import abc
from typing import Any, final

from sklearn.exceptions import NotFittedError

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers import Programs
from keras_fisher.detectors.feature_detector import FeatureDetector
from keras_fisher.detectors.features import ImageView
from keras_fisher.fisher.solvers import SOLVERS
from keras_fisher.typing import Tensor


class DetectorSurrogate(abc.ABC):
    """The features of a detector under a head that has a gradient; compared by identity.

    A subclass writes `log_odds_of`. The features are the detector's own and differentiable themselves, by
    second derivatives of the classifier: those of ReLU and max-pool are zero, so that the spectrum at
    infinite temperature, of the Jacobian alone, has no slope on such nets.

    Args:
        detector: a fitted FeatureDetector, such as FisherDetector.

    Raises:
        TypeError: another detector, whose features are no graph.
        NotFittedError: it is not fitted.
    """

    @suggests_keywords
    def __init__(self, detector: FeatureDetector) -> None:
        self.detector = check_feature_detector(detector)
        #: What attacks compile of it, which goes with it.
        self.programs = Programs(self)

    @abc.abstractmethod
    def log_odds_of(self, features: Tensor) -> Tensor:
        """Returns (batch,) float64, log p(adversarial) − log p(not), differentiable.

        Args:
            features: (batch, f) float64, as the detector's head is given them.
        """

    @final
    def log_odds(self, images: Tensor) -> Tensor:
        """Returns (batch,) float64, log p(adversarial) − log p(not), differentiable. For use in a graph.

        Args:
            images: (batch, h, w, c) in the dtype of the detector's classifier, unchecked.
        """
        classifier = self.detector.classifier
        # Exact whatever the detector's own solver: the iterations of another have no useful derivative.
        view = ImageView(classifier.target, images, SOLVERS["exact"])
        return self.log_odds_of(self.detector.features_in_graph(view))


def check_feature_detector(detector: Any) -> FeatureDetector:
    """Returns the detector, a fitted one whose features are a graph.

    Raises:
        TypeError: another detector.
        NotFittedError: it is not fitted.
    """
    if not isinstance(detector, FeatureDetector):
        remedy = "Of any other, kf.adaptive.DetectorAware(detector) asks scores alone."
        rule = "be a FeatureDetector, such as FisherDetector"
        raise TypeError(message("detector", rule, repr(detector), remedy))
    if not hasattr(detector, "head_"):
        raise NotFittedError(
            message("detector", "be fitted", repr(detector), "Call fit(clean, adversarial).")
        )
    return detector
