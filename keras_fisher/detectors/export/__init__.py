"""Detectors as Keras models and SavedModels."""

from keras_fisher.detectors.export.keras_detector import keras_detector
from keras_fisher.detectors.export.reading_layer import ReadingLayer
from keras_fisher.detectors.export.saved_model import DETECTOR_FOLDER, export_detector, versions_in
from keras_fisher.detectors.export.verdict_layer import VerdictLayer

__all__ = [
    "DETECTOR_FOLDER",
    "ReadingLayer",
    "VerdictLayer",
    "export_detector",
    "keras_detector",
    "versions_in",
]


def __dir__() -> list[str]:
    return __all__
