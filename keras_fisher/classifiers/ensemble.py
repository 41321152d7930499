"""Several classifiers as one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers.classifier import Classifier, as_classifier
from keras_fisher.classifiers.reading import OutputFunction


@suggests_keywords
def ensemble(members: Iterable[Classifier | keras.Model]) -> Classifier:
    """Returns the classifier whose probabilities are the mean of the members', to be attacked as a whole.

    Its logits are log (1/m Σ softmax(zᵢ)), formed from the members' logits: they do not saturate.

    Args:
        members: classifiers or models of one shape of images, the same classes and the same bounds.

    Raises:
        ValueError: no member, or members that do not fit together.

    Source: Liu et al. 2016, "Delving into transferable adversarial examples and black-box attacks", section
    5, with equal weights.

    Example:
        >>> import keras_fisher as kf
        >>> classifier = kf.ensemble([kf.models.lenet5(weights="mnist"), kf.models.lenet5(weights="mnist")])
        >>> classifier.num_classes
        10
    """
    if isinstance(members, (str, os.PathLike)) or not isinstance(members, Iterable):
        raise TypeError(
            message("members", "be a list of classifiers", type(members).__name__, "Put it in one.")
        )
    classifiers = [as_classifier(member) for member in members]
    if not classifiers:
        raise ValueError(message("members", "hold at least one classifier", "none"))
    first = classifiers[0]
    for attribute in ("image_shape", "num_classes", "bounds", "image_dtype"):
        found: list[Any] = [getattr(classifier, attribute) for classifier in classifiers]
        if any(value != found[0] for value in found):
            raise ValueError(message("members", f"share their {attribute}", found))
    images = keras.Input(first.image_shape, dtype=first.image_dtype.name, name="images")
    layer = MeanProbability(
        [classifier.model for classifier in classifiers], [classifier.reading for classifier in classifiers]
    )
    logits = layer(images)
    return Classifier(keras.Model(images, logits, name="ensemble"), from_logits=True, bounds=first.bounds)


@keras.saving.register_keras_serializable(package="keras_fisher")
class MeanProbability(keras.layers.Layer):
    """log (1/m Σ softmax(zᵢ(x))) of m models whose logits are read as `readings` says.

    A layer and not a graph of the models, whose names may be the same.
    """

    def __init__(self, members: list[keras.Model], readings: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.members = members
        self.readings = list(readings)
        self._logits = [
            OutputFunction(member, reading) for member, reading in zip(members, readings, strict=True)
        ]

    def call(self, images: Any) -> Any:
        terms = [ops.log_softmax(logits(images), axis=-1) for logits in self._logits]
        return ops.logsumexp(ops.stack(terms, axis=0), axis=0) - math.log(len(terms))

    def get_config(self) -> dict[str, Any]:
        members = [keras.saving.serialize_keras_object(member) for member in self.members]
        return super().get_config() | {"members": members, "readings": self.readings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MeanProbability:
        members = [keras.saving.deserialize_keras_object(member) for member in config.pop("members")]
        return cls(members, **config)
