"""Naive Bayes on the features of any detector."""

from __future__ import annotations

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.detectors.feature_detector import FeatureDetector
from keras_fisher.detectors.heads import make_head
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.detectors.surrogates.detector_surrogate import DetectorSurrogate
from keras_fisher.layers import GaussianNaiveBayes
from keras_fisher.typing import Array, Tensor


class NaiveBayesSurrogate(DetectorSurrogate):
    """Gaussian naive Bayes, fitted anew to the detector's features of labelled images.

    It knows nothing of the detector's head: what an attacker has who knows the features and has images of
    both kinds. Its odds are smooth and far too sure, since features are not independent.

    Args:
        detector: fitted.
        labelled: images of both kinds; not need be those that the detector was fitted to.

    Raises:
        TypeError: another detector, or no LabelledImages.
        NotFittedError: the detector is not fitted.
        ValueError: images of one kind only.

    Example:
        >>> import keras_fisher as kf, tensorflow as tf
        >>> from keras_fisher.detectors.surrogates import NaiveBayesSurrogate
        >>> detector = kf.load_detector(kf.artefacts.saved_model_path("lenet5_mnist_detector"))
        >>> images, labels = kf.datasets.mnist_sample()
        >>> clean = images[:40]
        >>> result = kf.attacks.OSSA(epsilon=4.0)(detector.classifier, clean, labels[:40])
        >>> made = kf.detectors.LabelledImages.from_attack(clean, result.images[result.success], clean[:0])
        >>> NaiveBayesSurrogate(detector, made).log_odds(tf.constant(images[60:64])).shape
        TensorShape([4])
    """

    @suggests_keywords
    def __init__(self, detector: FeatureDetector, labelled: LabelledImages) -> None:
        super().__init__(detector)
        features = features_of_both_kinds(self.detector, labelled)
        head = make_head("gaussian_nb", self.detector.seed).fit(features, labelled.is_adversarial.astype(int))
        self.layer = GaussianNaiveBayes.from_sklearn(head)

    def log_odds_of(self, features: Tensor) -> Tensor:
        return self.layer.log_odds(features)


def features_of_both_kinds(detector: FeatureDetector, labelled: LabelledImages) -> Array:
    """Returns (n, f) float64, the detector's features of labelled images.

    Raises:
        TypeError: no LabelledImages.
        ValueError: images of one kind only.
    """
    if not isinstance(labelled, LabelledImages):
        remedy = "kf.detectors.LabelledImages.from_attack(clean, adversarial, noisy) makes them."
        raise TypeError(message("labelled", "be LabelledImages", type(labelled).__name__, remedy))
    num_adversarial = int(labelled.is_adversarial.sum())
    if num_adversarial in (0, len(labelled)):
        found = f"{num_adversarial} adversarial of {len(labelled)}"
        raise ValueError(message("labelled", "hold images of both kinds", found))
    return detector.features_of(labelled.images)
