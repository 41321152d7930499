"""What others detect adversarial images by: to be compared with on the same images."""

from keras_fisher.detectors.baselines.density_uncertainty_detector import DensityUncertaintyDetector
from keras_fisher.detectors.baselines.dropout_uncertainty_detector import DropoutUncertaintyDetector
from keras_fisher.detectors.baselines.kernel_density_detector import KernelDensityDetector
from keras_fisher.detectors.baselines.local_intrinsic_dimensionality_detector import (
    LocalIntrinsicDimensionalityDetector,
)
from keras_fisher.detectors.baselines.mahalanobis_detector import MahalanobisDetector

__all__ = [
    "DensityUncertaintyDetector",
    "DropoutUncertaintyDetector",
    "KernelDensityDetector",
    "LocalIntrinsicDimensionalityDetector",
    "MahalanobisDetector",
]


def __dir__() -> list[str]:
    return __all__
