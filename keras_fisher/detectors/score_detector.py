"""Detection by one plain number: the trivial baselines."""

from __future__ import annotations

import keras
from sklearn.base import BaseEstimator

from keras_fisher.checks import check_option, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.feature_detector import FeatureDetector
from keras_fisher.detectors.features import Feature, LogDoubt, LogEntropy, LogGradientNorm, LogTrace

_SCORES: dict[str, Feature] = {
    "max_softmax": LogDoubt(),
    "entropy": LogEntropy(),
    "gradient_norm": LogGradientNorm(),
    "trace": LogTrace(),
}


class ScoreDetector(FeatureDetector):
    """Tells adversarial images by one number: what any other detector should beat.

    All numbers are logarithms, which hold where the classifier is sure. With the default head, a logistic
    regression, the order of the images is that of the number, so that its AUC needs no fit but a sign.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked.
        score: "max_softmax", ln (1 − p) of the most probable class; "entropy" of the prediction;
            "gradient_norm", of −log p of the most probable class; "trace", tr G.
        head: as of `FisherDetector`.
        seed: of the noisy negatives and of a head given by name.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on, unless `calibrate` finds another.

    Raises:
        TypeError, ValueError: a bad setting; see Classifier for models.

    Source: Hendrycks and Gimpel 2017 (max softmax).

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.FGM(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = kf.detectors.ScoreDetector(classifier, "entropy")
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> detector.predict(images[60:]).shape
        (940,)
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        score: str = "max_softmax",
        head: str | BaseEstimator = "logistic_regression",
        *,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(classifier, head, seed=seed, batch_size=batch_size, threshold=threshold)
        self.score = check_option("score", score, _SCORES)

    @property
    def feature_objects(self) -> tuple[Feature, ...]:
        """The one number."""
        return (_SCORES[self.score],)
