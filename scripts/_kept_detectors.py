"""Detectors whose features are kept on disk, as `_reproduction.in_parts` keeps them."""

from __future__ import annotations

import _reproduction as common
import numpy as np

import keras_fisher as kf
from keras_fisher.detectors import baselines


class _Kept(kf.detectors.Detector):
    """Keeps what `features_of` of the detector that it is mixed into returns."""

    def features_of(self, images: np.ndarray) -> np.ndarray:
        # All settings that features depend on; a reference is told by what is in it.
        settings = {
            name: common.digest(value) if isinstance(value, np.ndarray) else value
            for name, value in self.get_params().items()
            if name not in ("classifier", "head", "threshold")
        }

        def compute(images: np.ndarray, labels: np.ndarray) -> common.Arrays:
            return {"features": super(_Kept, self).features_of(images)}

        labels = np.zeros(len(images), np.int64)
        name = f"features of {type(self).__name__}"
        return common.in_parts(name, self.classifier, images, labels, compute, settings)["features"]


class FisherDetector(_Kept, kf.FisherDetector):
    """See kf.FisherDetector."""


class SoftmaxDetector(_Kept, kf.detectors.SoftmaxDetector):
    """See kf.detectors.SoftmaxDetector."""


class KernelDensityDetector(_Kept, baselines.KernelDensityDetector):
    """See kf.detectors.baselines."""


class DropoutUncertaintyDetector(_Kept, baselines.DropoutUncertaintyDetector):
    """See kf.detectors.baselines."""


class DensityUncertaintyDetector(_Kept, baselines.DensityUncertaintyDetector):
    """See kf.detectors.baselines."""
