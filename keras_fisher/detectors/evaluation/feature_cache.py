"""Features of images, each computed once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from keras_fisher.detectors.detector import Detector
from keras_fisher.typing import Array

#: The settings of a detector that come after its features.
_OF_THE_HEAD = ("head", "threshold")


class FeatureCache:
    """Features by detector and array of images: they cost passes through the model, heads cost little.

    Detectors of one class whose settings differ only in `head` and `threshold` share their features. Settings
    that cannot be hashed, such as an array of reference images, count as the same only if they are one
    object. So do arrays of images; their contents must not change.

    Example:
        >>> import keras_fisher as kf
        >>> images, _ = kf.datasets.mnist_sample()
        >>> classifier, ten = kf.Classifier(kf.models.lenet5()), images[:10]
        >>> forest, bayes = (
        ...     kf.detectors.SoftmaxDetector(classifier, head) for head in ("random_forest", "gaussian_nb")
        ... )
        >>> cache = FeatureCache()
        >>> cache.features(forest, ten).shape, cache.num_computed
        ((10, 10), 10)
        >>> cache.features(bayes, ten, rows=[2, 3]).shape, cache.num_computed
        ((2, 10), 10)
    """

    def __init__(self) -> None:
        self._tables: dict[Hashable, _Table] = {}
        #: Rows of features computed so far.
        self.num_computed = 0

    def features(self, detector: Detector, images: Array, rows: Any = None) -> Array:
        """Returns (k, f) float64, what `detector.features_of` makes of these images, computed where missing.

        Args:
            detector: fitted or not.
            images: (n, h, w, c), in bounds.
            rows: (k,) positions in `images`; None for all.

        Raises:
            TypeError, ValueError: as `detector.features_of` does.
        """
        rows = np.arange(len(images)) if rows is None else np.asarray(rows, np.int64)
        key = (_settings(detector), id(images))
        table = self._tables.get(key)
        # Ascending, so that all of them are the array as it stands.
        missing = np.unique(rows if table is None else rows[~table.is_known[rows]])
        if len(missing):
            found = detector.features_of(images if len(missing) == len(images) else images[missing])
            self.num_computed += len(found)
            if table is None:
                table = self._tables[key] = _Table(detector, images, found.shape[1])
            table.put(missing, found)
        elif table is None:
            # No rows of no images: the number of features is not known.
            return np.zeros((0, 0))
        return table.features[rows]


class _Table:
    """The features of one array of images, as far as they are known."""

    def __init__(self, detector: Detector, images: Array, num_features: int) -> None:
        # An object that is gone leaves its id to another: these two stay.
        self._owners = (detector, images)
        self.features = np.full((len(images), num_features), np.nan)
        self.is_known = np.zeros(len(images), bool)

    def put(self, rows: Array, features: Array) -> None:
        """Takes the features of these rows."""
        self.features[rows] = features
        self.is_known[rows] = True


def _settings(detector: Detector) -> Hashable:
    """Returns the class and all settings that features may depend on."""
    settings = detector.get_params()
    named = ((name, _identity(value)) for name, value in settings.items() if name not in _OF_THE_HEAD)
    return type(detector), tuple(named)


def _identity(value: Any) -> Hashable:
    """Returns what equals that of another value where both are the same setting."""
    try:
        hash(value)
    except TypeError:
        return "object", id(value)
    # 1, 1.0 and True are equal to Python, and may not be to a detector.
    return type(value), value
