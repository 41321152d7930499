"""Attackers who know of a detector."""

from keras_fisher.adaptive.detector_aware import DetectorAware
from keras_fisher.adaptive.evasion_result import EvasionResult
from keras_fisher.adaptive.score_gradient import ScoreGradient

__all__ = ["DetectorAware", "EvasionResult", "ScoreGradient"]


def __dir__() -> list[str]:
    return __all__
