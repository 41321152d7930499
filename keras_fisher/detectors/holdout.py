"""The AUC of detectors on images that they were not fitted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from sklearn.base import clone

from keras_fisher.checks import KnowsKeywords, check_flag, suggests_keywords
from keras_fisher.detectors.bootstrap_auc import bootstrap_auc
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.evaluation.arguments import check_detectors
from keras_fisher.detectors.evaluation.feature_cache import FeatureCache
from keras_fisher.detectors.label_attack import label_attack
from keras_fisher.progress import track
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class HoldoutScore(KnowsKeywords):
    """How well a detector told adversarial images from clean and noisy ones, on the side it had not seen."""

    #: in [0, 1].
    auc: float
    #: source images that it was fitted on; each gives a clean, a noisy and an adversarial one.
    num_train: int
    #: source images that it was measured on.
    num_test: int
    #: (low, high), 95 %, bootstrap over the source images of the test side.
    interval: tuple[float, float]


@suggests_keywords
def holdout_auc(
    detectors: Mapping[str, Detector],
    clean: Array,
    adversarial: Array,
    noisy: Array | None = None,
    test_fraction: float = 0.5,
    seed: int = 0,
    *,
    progress: bool = False,
) -> dict[str, HoldoutScore]:
    """Returns the held-out AUC of each detector, fitted anew on the same images.

    The split goes by source: the clean, the noisy and the adversarial version of an image are on one side.
    The detectors given are cloned and stay as they are; those that differ only in their head share features.

    Args:
        detectors: name to detector, of any head; fitted or not.
        clean: (n, h, w, c), in bounds.
        adversarial: (n, h, w, c), what an attack made of `clean`; only images that it moved.
        noisy: (n, h, w, c), or an empty array for none. None puts noise of the attack's realised norms on
            `clean`, within the bounds of the first detector's classifier.
        test_fraction: of the source images.
        seed: of the split, of the noise and of the bootstrap.
        progress: show a bar.

    Raises:
        TypeError, ValueError: no detectors, or images that cannot be labelled or split; see `Detector.fit`.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.FGM(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> clean, adversarial = images[:60][result.success], result.images[result.success]
        >>> detectors = {"softmax": kf.detectors.SoftmaxDetector(classifier)}
        >>> scores = kf.detectors.holdout_auc(detectors, clean, adversarial)
        >>> scores["softmax"].num_train + scores["softmax"].num_test == len(clean)
        True
    """
    check_flag("progress", progress)
    labelled = label_attack(check_detectors(detectors), clean, adversarial, noisy, seed)
    train, test = labelled.split(test_fraction, seed)

    cache, scores = FeatureCache(), {}
    for name, detector in track(detectors.items(), "Detectors", len(detectors), progress):
        seen, unseen = (cache.features(detector, side.images) for side in (train, test))
        test_scores = clone(detector).fit_features(seen, train.is_adversarial).score_features(unseen)
        auc, interval = bootstrap_auc(test.is_adversarial, test_scores, np.asarray(test.sources), seed=seed)
        scores[name] = HoldoutScore(auc, train.num_sources, test.num_sources, interval)
    return scores
