"""Stand-ins for detectors where their gradient is needed, as `kf.adaptive.DetectorAware` does."""

from keras_fisher.detectors.surrogates.detector_surrogate import DetectorSurrogate
from keras_fisher.detectors.surrogates.distilled_surrogate import DistilledSurrogate
from keras_fisher.detectors.surrogates.exact_surrogate import ExactSurrogate
from keras_fisher.detectors.surrogates.naive_bayes_surrogate import NaiveBayesSurrogate
from keras_fisher.detectors.surrogates.surrogate_of import surrogate_of

__all__ = [
    "DetectorSurrogate",
    "DistilledSurrogate",
    "ExactSurrogate",
    "NaiveBayesSurrogate",
    "surrogate_of",
]


def __dir__() -> list[str]:
    return __all__
