"""Keras models seen as functions from images to a distribution, with every check that this needs."""

from keras_fisher.classifiers.class_odds import ClassOdds, class_odds
from keras_fisher.classifiers.classifier import Classifier, as_classifier
from keras_fisher.classifiers.ensemble import ensemble
from keras_fisher.classifiers.network import Network
from keras_fisher.classifiers.programs import Programs
from keras_fisher.classifiers.reading import target_of
from keras_fisher.classifiers.target import Target

__all__ = [
    "ClassOdds",
    "Classifier",
    "Network",
    "Programs",
    "Target",
    "as_classifier",
    "class_odds",
    "ensemble",
    "target_of",
]


def __dir__() -> list[str]:
    return __all__
