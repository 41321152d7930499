"""Detectors whose features are kept on disk, as `_parts.in_parts` keeps them."""

from __future__ import annotations

import _parts as parts
import numpy as np

import keras_fisher as kf


class Kept(kf.detectors.Detector):
    """The features of other detectors, side by side, with the head of the first."""

    def __init__(self, classifier: kf.Classifier, detectors: tuple[kf.detectors.Detector, ...]) -> None:
        first = detectors[0]
        super().__init__(classifier, first.head, seed=first.seed, threshold=first.threshold)
        self.detectors = detectors

    def features_of(self, images: np.ndarray) -> np.ndarray:
        """Returns the features of all of them, each computed once."""
        return np.concatenate([_features_of(detector, images) for detector in self.detectors], axis=1)


def kept(*detectors: kf.detectors.Detector) -> Kept:
    """Returns a detector with the features of these, which are kept."""
    return Kept(detectors[0].classifier, detectors)


def _features_of(detector: kf.detectors.Detector, images: np.ndarray) -> np.ndarray:
    # All settings that features depend on; a reference is told by what is in it.
    settings = {
        name: parts.digest(value) if isinstance(value, np.ndarray) else value
        for name, value in detector.get_params().items()
        if name not in ("classifier", "head", "threshold")
    }

    def compute(images: np.ndarray, labels: np.ndarray) -> parts.Arrays:
        return {"features": detector.features_of(images)}

    labels = np.zeros(len(images), np.int64)
    name = f"features of {type(detector).__name__}"
    return parts.in_parts(name, detector.classifier, images, labels, compute, settings)["features"]
