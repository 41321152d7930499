"""A stand-in for a detector, of the kind that fits."""

from __future__ import annotations

from keras_fisher.checks import check_option, message, suggests_keywords
from keras_fisher.detectors.feature_detector import FeatureDetector
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.detectors.surrogates.detector_surrogate import DetectorSurrogate, check_feature_detector
from keras_fisher.detectors.surrogates.distilled_surrogate import DistilledSurrogate
from keras_fisher.detectors.surrogates.exact_surrogate import ExactSurrogate, has_exact_surrogate
from keras_fisher.detectors.surrogates.naive_bayes_surrogate import NaiveBayesSurrogate

_KINDS = ("auto", "exact", "naive_bayes", "distilled")


@suggests_keywords
def surrogate_of(
    detector: FeatureDetector, labelled: LabelledImages | None = None, kind: str = "auto", *, seed: int = 0
) -> DetectorSurrogate:
    """Returns what stands for the detector where its gradient is needed.

    Args:
        detector: a fitted FeatureDetector, such as FisherDetector.
        labelled: images of both kinds, as `LabelledImages.from_attack` makes them; "exact" needs none.
        kind: "exact", of heads that have a gradient; "naive_bayes"; "distilled"; or "auto", the first of
            "exact" and "distilled" that there is for the head.
        seed: of "distilled".

    Raises:
        TypeError, ValueError: a bad setting, a detector or head without such a stand-in, images of one kind.
        NotFittedError: the detector is not fitted.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.detectors.surrogates import surrogate_of
        >>> detector = kf.load_detector(kf.artefacts.saved_model_path("lenet5_mnist_detector"))
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.OSSA(epsilon=4.0)(detector.classifier, images[:40], labels[:40])
        >>> clean, adversarial = images[:40][result.success], result.images[result.success]
        >>> labelled = kf.detectors.LabelledImages.from_attack(clean, adversarial, clean[:0])
        >>> type(surrogate_of(detector, labelled, "naive_bayes")).__name__
        'NaiveBayesSurrogate'
    """
    check_option("kind", kind, _KINDS)
    detector = check_feature_detector(detector)
    if kind == "auto":
        kind = "exact" if has_exact_surrogate(detector.head_) else "distilled"
    if kind == "exact":
        return ExactSurrogate(detector)
    if labelled is None:
        remedy = "kf.detectors.LabelledImages.from_attack(clean, adversarial, noisy) makes them."
        raise ValueError(message("labelled", f"be given for a {kind!r} stand-in", None, remedy))
    if kind == "naive_bayes":
        return NaiveBayesSurrogate(detector, labelled)
    return DistilledSurrogate(detector, labelled, seed=seed)
