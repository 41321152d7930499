"""A fitted detector as one Keras model."""

from __future__ import annotations

from typing import Any

import keras

from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.export.reading_layer import ReadingLayer
from keras_fisher.detectors.export.verdict_layer import VerdictLayer
from keras_fisher.detectors.features import Feature
from keras_fisher.detectors.head_layer import head_layer
from keras_fisher.fisher.solvers import Solver


def keras_detector(
    classifier: Classifier,
    features: tuple[Feature, ...],
    eigensolver: Solver,
    num_eigenvalues: int,
    seed: int,
    head: Any,
    threshold: float,
) -> keras.Model:
    """Returns images (batch, h, w, c) → a dict of what `Detector.to_keras` names.

    Args:
        classifier: what is read; its model is shared, not copied.
        features: what the head was fitted to.
        eigensolver: finds the eigenvalues.
        num_eigenvalues: how many are returned.
        seed: of solvers that start at random.
        head: a fitted head.
        threshold: of the probability.

    Raises:
        TypeError: a head that has no layer.
        ValueError: a classifier of images of any size.
    """
    if None in classifier.image_shape:
        remedy = "Rebuild it with keras.Input of one size."
        raise ValueError(
            message("classifier", "take images of one size, to be exported", classifier.image_shape, remedy)
        )
    layer = head_layer(head, name="head")
    dtype = classifier.image_dtype.name
    images = keras.Input(classifier.image_shape, dtype=dtype, name="images")
    readings = ReadingLayer(
        classifier.model,
        classifier.reading,
        classifier.bounds,
        classifier.num_classes,
        features,
        num_eigenvalues,
        eigensolver,
        seed,
        lacks_second_derivative=classifier.target.lacks_second_derivative,
        name="readings",
    )(images)
    verdict = VerdictLayer(threshold, name="verdict")(layer(readings["features"]))
    outputs = {name: readings[name] for name in ("class_probabilities", "eigenvalues", "is_valid")}
    return keras.Model(images, outputs | verdict, name="detector")
