"""A detector fitted to what attacks made of one side of the sources, with thresholds from another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.base import clone

from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.evaluation.attacked_sources import AttackedSources
from keras_fisher.detectors.evaluation.feature_cache import FeatureCache
from keras_fisher.detectors.evaluation.source_split import SourceSplit
from keras_fisher.detectors.threshold_at import threshold_at
from keras_fisher.typing import Array

#: Adversarial images to fit to: a variance needs two.
MIN_IMAGES = 2


@dataclasses.dataclass(frozen=True, eq=False)
class CalibratedDetector:
    """A fitted clone of a detector. Features come from the cache."""

    #: as it was given: the one whose features are cached.
    given: Detector
    cache: FeatureCache
    #: None if there was too little to fit to.
    fitted: Detector | None
    #: adversarial images that it was fitted to.
    num_fit: int
    #: asked false positive rate to threshold; NaN where the calibration side is too small for it.
    thresholds: dict[float, float]
    #: why `fitted` is None, or empty.
    reason: str = ""

    def scores(self, images: Array, rows: Array) -> Array:
        """Returns (k,) float64 scores of these rows of the images, NaN without a fitted detector."""
        if self.fitted is None or not len(rows):
            return np.full(len(rows), np.nan)
        return self.fitted.score_features(self.cache.features(self.given, images, rows))


def calibrate_detector(
    given: Detector,
    cache: FeatureCache,
    clean: Array,
    attacks: Sequence[AttackedSources],
    split: SourceSplit,
    rates: Iterable[float],
) -> CalibratedDetector:
    """Returns the detector, fitted on the one side to the images of the attacks, calibrated on the other.

    Of several attacks each brings its own adversarial and noisy images, and the clean ones once more: so
    clean images and noise count alike, as they do on the test side.

    Args:
        given: is cloned.
        cache: of features.
        clean: (n, h, w, c), the sources.
        attacks: one, or several of a mixture.
        split: of the sources.
        rates: false positive rates, one threshold for each.
    """
    kept = [split.fit[attack.is_fitted_to[split.fit]] for attack in attacks]
    num_fit = sum(map(len, kept))
    missing = dict.fromkeys(rates, float("nan"))
    if num_fit < MIN_IMAGES:
        reason = f"{num_fit} adversarial images to fit to"
        return CalibratedDetector(given, cache, None, num_fit, missing, reason)
    pairs = [(attack, rows) for attack, rows in zip(attacks, kept, strict=True) if len(rows)]
    # In the order of `Detector.fit`, so that a head with a random state comes out the same.
    versions = (
        [cache.features(given, clean, rows) for _, rows in pairs],
        [cache.features(given, attack.noisy, rows) for attack, rows in pairs],
        [cache.features(given, attack.adversarial, rows) for attack, rows in pairs],
    )
    features = np.concatenate([part for version in versions for part in version])
    if (features == features[0]).all():
        return CalibratedDetector(given, cache, None, num_fit, missing, "the same features for all images")
    fitted = clone(given).fit_features(features, np.arange(len(features)) >= 2 * num_fit)

    calibrated = CalibratedDetector(given, cache, fitted, num_fit, missing)
    negatives = [
        calibrated.scores(images, split.calibration) for attack in attacks for images in (clean, attack.noisy)
    ]
    thresholds = {rate: _threshold(np.concatenate(negatives), rate) for rate in missing}
    return dataclasses.replace(calibrated, thresholds=thresholds)


def _threshold(negatives: Array, rate: float) -> float:
    """Returns the threshold, or NaN where there are too few negatives to tell the rate."""
    try:
        return threshold_at(negatives, rate)
    except ValueError:
        return float("nan")
