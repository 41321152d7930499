"""Detectors whose head has a gradient."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.detectors.feature_detector import FeatureDetector
from keras_fisher.detectors.surrogates.detector_surrogate import DetectorSurrogate
from keras_fisher.layers import GaussianNaiveBayes, LogisticProbability
from keras_fisher.typing import Tensor


class ExactSurrogate(DetectorSurrogate):
    """The detector itself, of a head that has a gradient: naive Bayes or logistic regression.

    Args:
        detector: fitted, with a GaussianNB, a LogisticRegression, or a Pipeline of a StandardScaler and one.

    Raises:
        TypeError: another head or detector.
        NotFittedError: the detector is not fitted.

    Example:
        >>> import keras_fisher as kf, tensorflow as tf
        >>> from keras_fisher.detectors.surrogates import ExactSurrogate
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.OSSA(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = kf.FisherDetector(classifier, head="gaussian_nb")
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> log_odds = ExactSurrogate(detector).log_odds(tf.constant(images[60:64]))
        >>> bool(abs(tf.sigmoid(log_odds) - detector.score_samples(images[60:64])).numpy().max() < 1e-6)
        True
    """

    @suggests_keywords
    def __init__(self, detector: FeatureDetector) -> None:
        super().__init__(detector)
        self.layer = _layer(self.detector.head_)

    def log_odds_of(self, features: Tensor) -> Tensor:
        return self.layer.log_odds(features)


def has_exact_surrogate(head: Any) -> bool:
    """Returns whether a fitted head has a gradient that is known here."""
    last = head.steps[-1][1] if isinstance(head, Pipeline) else head
    return isinstance(last, (GaussianNB, LogisticRegression))


def _layer(head: Any) -> GaussianNaiveBayes | LogisticProbability:
    if isinstance(head, GaussianNB):
        return GaussianNaiveBayes.from_sklearn(head)
    if has_exact_surrogate(head):
        return LogisticProbability.from_sklearn(head)
    remedy = "Of any other head: NaiveBayesSurrogate or DistilledSurrogate."
    raise TypeError(message("detector", "have a GaussianNB or LogisticRegression", repr(head), remedy))
