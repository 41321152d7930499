"""What detectors share that compare an image with clean ones."""

from __future__ import annotations

import abc
from typing import Any, final

import keras
import numpy as np
from sklearn.base import BaseEstimator

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.hidden_layers import Activations, HiddenLayers
from keras_fisher.detectors.detector import Detector
from keras_fisher.typing import Array, Images

#: A distance between images of the reference needs two.
_MIN_IMAGES = 2


class ReferenceDetector(Detector):
    """A detector whose features compare hidden layers with those of clean images, its reference.

    A subclass writes `_learn` and `_compare`. What it learns of the reference it keeps from the first use on;
    a clone learns anew. After training the model further make a new detector.

    The reference is part of the settings, and settings with images in them cannot be saved: `save` refuses.

    Args:
        classifier, head, seed, batch_size, threshold: of `Detector`.
        reference: (m, h, w, c), in bounds, clean.
        only_last, pooled: of `HiddenLayers`.
        min_images: the least m.
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        reference: Array,
        head: str | BaseEstimator,
        *,
        only_last: bool = False,
        pooled: bool = False,
        min_images: int = _MIN_IMAGES,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(classifier, head, seed=seed, batch_size=batch_size, threshold=threshold)
        self.reference = self.classifier.check(reference, "reference")
        if len(self.reference) < min_images:
            remedy = "Pass clean images that you do not fit to."
            rule = f"hold at least {min_images} images"
            raise ValueError(message("reference", rule, len(self.reference), remedy))
        self._hidden = HiddenLayers(self.classifier, only_last=only_last, pooled=pooled)
        self._learnt: Any = None

    @abc.abstractmethod
    def _learn(self, reference: Activations) -> Any:
        """Returns what `_compare` needs to know of the reference."""

    @abc.abstractmethod
    def _compare(self, images: Array) -> Array:
        """Returns (n, layers) float64, finite, the features of a batch of checked images."""

    @final
    def features_of(self, images: Images) -> Array:
        """Returns (n, layers) float64, finite: one column for each layer, in graph order.

        Args:
            images: (n, h, w, c) within the bounds, or a Dataset of batches of them. Not images of the
                reference, which are nearer to it than any other.

        Raises:
            TypeError, ValueError: images that do not fit the classifier, or, where layers are compared unit
                by unit, that are not of the size of the reference.
        """
        batches = self.classifier.batches(images, self.batch_size)
        rows = [np.zeros((0, len(self._hidden.names)))]
        for batch in batches:
            if not self._hidden.pooled and batch.shape[1:] != self.reference.shape[1:]:
                rule = f"be of the shape {self.reference.shape[1:]} of the reference"
                raise ValueError(message("images", rule, batch.shape[1:]))
            rows.append(self._compare(batch))
        return np.concatenate(rows)

    @final
    def _of_reference(self) -> Any:
        """Returns what `_learn` learnt, once."""
        if self._learnt is None:
            batches = self.classifier.batches(self.reference, self.batch_size)
            layers, logits = zip(*(self._hidden(batch) for batch in batches), strict=True)
            joined = [np.concatenate(parts) for parts in zip(*layers, strict=True)]
            self._learnt = self._learn(Activations(joined, np.concatenate(logits)))
        return self._learnt
