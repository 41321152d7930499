"""What a detector reads of an image: objects that combine in a tuple, `FisherDetector(features=(…, …))`."""

import math

from keras_fisher.detectors.features.blur_change import BlurChange
from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import LOG_FLOOR, ImageView
from keras_fisher.detectors.features.log_blur_divergence import LogBlurDivergence
from keras_fisher.detectors.features.log_doubt import LogDoubt
from keras_fisher.detectors.features.log_eigenvalues import LogEigenvalues
from keras_fisher.detectors.features.log_entropy import LogEntropy
from keras_fisher.detectors.features.log_gradient_norm import LogGradientNorm
from keras_fisher.detectors.features.log_probabilities import LogProbabilities
from keras_fisher.detectors.features.log_trace import LogTrace
from keras_fisher.detectors.features.spectral_entropy import SpectralEntropy
from keras_fisher.serialization import register

register(
    Feature,
    BlurChange,
    LogBlurDivergence,
    LogDoubt,
    LogEigenvalues,
    LogEntropy,
    LogGradientNorm,
    LogProbabilities,
    LogTrace,
    SpectralEntropy,
)

#: `features="extended"`, beside the log eigenvalues of `features="paper"`.
EXTENSION: tuple[Feature, ...] = (
    LogEigenvalues(temperature=5.0),
    LogEigenvalues(temperature=20.0),
    LogEigenvalues(temperature=math.inf),
    LogTrace(),
    SpectralEntropy(),
    LogProbabilities(),
    BlurChange(),
    LogBlurDivergence(),
)

__all__ = [
    "EXTENSION",
    "LOG_FLOOR",
    "BlurChange",
    "Feature",
    "ImageView",
    "LogBlurDivergence",
    "LogDoubt",
    "LogEigenvalues",
    "LogEntropy",
    "LogGradientNorm",
    "LogProbabilities",
    "LogTrace",
    "SpectralEntropy",
]


def __dir__() -> list[str]:
    return __all__
