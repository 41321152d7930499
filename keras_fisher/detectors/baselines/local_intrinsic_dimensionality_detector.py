"""Detection by the dimension of the data as it looks from an image."""

from __future__ import annotations

import keras
import numpy as np
from sklearn.base import BaseEstimator

from keras_fisher.checks import check_integer, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.hidden_layers import Activations
from keras_fisher.detectors.baselines.reference_detector import ReferenceDetector
from keras_fisher.detectors.baselines.squared_distances import squared_distances
from keras_fisher.typing import Array

#: What equally far neighbours count as, which say infinity: far above what trained nets give, 1 to 50.
MAX_DIMENSION = 1000.0
#: Of squared distances, around the precision of them: a neighbour that coincides counts as this near.
_MIN_RATIO = 1e-16


class LocalIntrinsicDimensionalityDetector(ReferenceDetector):
    """Tells adversarial images by how fast the number of clean neighbours grows with the distance.

    Features are, for each hidden layer, the maximum-likelihood estimate of the local intrinsic dimension from
    the distances rᵢ to the k nearest reference images: −(1/k Σᵢ log rᵢ / r_k)⁻¹, in [0, `MAX_DIMENSION`]. It
    is 0 where all k coincide with the image.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked.
        reference: (m, h, w, c), in bounds, m ≥ `num_neighbors`: clean images; the paper takes 100 at a time.
            Not those that you fit or score. All their activations are kept: 4 bytes × m × units.
        num_neighbors: k, at least 2.
        head: "logistic_regression", another name of a head, or an unfitted scikit-learn classifier with
            `predict_proba`, which is cloned.
        seed: of the noisy negatives and of a head given by name.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on.

    Raises:
        TypeError, ValueError: a bad setting, or a model whose hidden layers cannot be seen. `save` raises
            TypeError: images are no plain setting.

    Source: Ma et al. 2018, "Characterizing adversarial subspaces using local intrinsic dimensionality",
    equation 4 and algorithm 1. We differ: neighbours come from one fixed reference for all images, and not
    from the clean images of the minibatch that an image is in, so that an answer does not depend on the other
    images; input and output of the net are left out.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.detectors.baselines import LocalIntrinsicDimensionalityDetector
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.FGM(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = LocalIntrinsicDimensionalityDetector(classifier, reference=images[900:])
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> detector.features_of(images[60:100]).shape  # six layers
        (40, 6)
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        reference: Array,
        num_neighbors: int = 20,
        head: str | BaseEstimator = "logistic_regression",
        *,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        self.num_neighbors = check_integer("num_neighbors", num_neighbors, 2)
        super().__init__(
            classifier,
            reference,
            head,
            min_images=self.num_neighbors,
            seed=seed,
            batch_size=batch_size,
            threshold=threshold,
        )

    def _learn(self, reference: Activations) -> list[Array]:
        return reference.layers

    def _compare(self, images: Array) -> Array:
        layers = zip(self._hidden(images).layers, self._of_reference(), strict=True)
        columns = [
            _local_dimension(squared_distances(points, centres), self.num_neighbors)
            for points, centres in layers
        ]
        return np.stack(columns, axis=1)


def _local_dimension(distances: Array, num_neighbors: int) -> Array:
    """Returns (n,), −(1/k Σᵢ log rᵢ / r_k)⁻¹, from squared distances (n, m)."""
    nearest = np.partition(distances, num_neighbors - 1, axis=1)[:, :num_neighbors]
    farthest = nearest.max(axis=1, keepdims=True)
    ratios = np.divide(nearest, farthest, out=np.ones_like(nearest), where=farthest > 0)
    # log r is half of log r².
    inverse = -0.5 * np.log(np.maximum(ratios, _MIN_RATIO)).mean(axis=1)
    return np.where(farthest[:, 0] > 0, 1 / np.maximum(inverse, 1 / MAX_DIMENSION), 0.0)
