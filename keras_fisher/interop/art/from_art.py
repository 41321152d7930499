"""An ART classifier as one of ours."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from art.estimators.classification import KerasClassifier, TensorFlowV2Classifier
from art.preprocessing.standardisation_mean_std.numpy import StandardisationMeanStd
from art.preprocessing.standardisation_mean_std.tensorflow import StandardisationMeanStdTensorFlow
from art.preprocessing.standardisation_mean_std.utils import broadcastable_mean_std

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.interop.foreign import classifier_of, is_neutral
from keras_fisher.typing import Array

#: The ART classifiers that a Classifier can be made of.
ART_CLASSIFIERS = (TensorFlowV2Classifier, KerasClassifier)


@suggests_keywords
def from_art(estimator: Any) -> Classifier:
    """Returns the Classifier of an ART classifier: its model, its bounds and its standardisation.

    The weights are shared. The bounds are ART's `clip_values`; None for none. ART's `preprocessing`,
    (x − mean) / std, becomes a part of the model. Twice the same estimator gives the same Classifier.

    Args:
        estimator: an ART TensorFlowV2Classifier or KerasClassifier around a keras.Model.

    Raises:
        TypeError: another estimator, or one around a function.
        ValueError: preprocessing other than standardisation, postprocessing, bounds that differ from pixel to
            pixel, or a model that no Classifier can be made of.

    Example:
        >>> from art.estimators.classification import TensorFlowV2Classifier
        >>> import keras_fisher as kf
        >>> model = kf.models.lenet5(weights="mnist")
        >>> shape = (28, 28, 1)
        >>> estimator = TensorFlowV2Classifier(model, nb_classes=10, input_shape=shape, clip_values=(0, 1))
        >>> classifier = kf.interop.art.from_art(estimator)
        >>> classifier.num_classes, classifier.bounds
        (10, (0.0, 1.0))
    """
    if not isinstance(estimator, ART_CLASSIFIERS):
        rule = "be an ART TensorFlowV2Classifier or KerasClassifier"
        raise TypeError(message("estimator", rule, type(estimator).__name__))
    if not isinstance(estimator.model, keras.Model):
        found = type(estimator.model).__name__
        remedy = "A function has no layers to read: wrap the keras.Model that it calls."
        raise TypeError(message("estimator", "be around a keras.Model", found, remedy))
    if estimator.postprocessing_defences:
        names = ", ".join(type(defence).__name__ for defence in estimator.postprocessing_defences)
        remedy = "It changes what ART predicts, and has no gradient. Make an estimator without it."
        raise ValueError(message("estimator", "have no postprocessing defences", names, remedy))
    image_shape = tuple(estimator.input_shape)
    bounds = _bounds(estimator.clip_values)
    mean, std = _standardisation(estimator, image_shape)
    return classifier_of(estimator, estimator.model, image_shape, bounds, mean, std)


def _bounds(clip_values: Any) -> tuple[float, float] | None:
    if clip_values is None:
        return None
    lower, upper = (np.unique(value) for value in clip_values)
    if lower.size > 1 or upper.size > 1:
        remedy = "Pass clip_values=(lowest, highest) to ART, two numbers."
        raise ValueError(message("estimator", "have the same bounds for all pixels", "arrays", remedy))
    return float(lower[0]), float(upper[0])


def _standardisation(estimator: Any, image_shape: tuple[int, ...]) -> tuple[Array | None, Array | None]:
    """Returns the mean and the standard deviation that ART puts before the model; None and None for none."""
    steps = []
    for step in estimator.preprocessing_operations:
        if not step.apply_predict:
            continue
        if not isinstance(step, (StandardisationMeanStd, StandardisationMeanStdTensorFlow)):
            rule = "have no preprocessing but standardisation by mean and std"
            remedy = "Make it a layer of the model, or an estimator without it."
            raise ValueError(message("estimator", rule, type(step).__name__, remedy))
        if not (is_neutral(step.mean, 0.0) and is_neutral(step.std, 1.0)):
            steps.append(broadcastable_mean_std(np.zeros((1, *image_shape)), step.mean, step.std))
    if len(steps) > 1:
        raise ValueError(message("estimator", "standardise once", f"{len(steps)} standardisations"))
    if not steps:
        return None, None
    mean, std = (np.asarray(moment) for moment in steps[0])
    return mean, std
