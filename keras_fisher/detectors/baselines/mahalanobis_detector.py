"""Detection by the distance to the nearest class, in units of the spread within classes."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator

from keras_fisher.checks import check_real, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.hidden_layers import Activations, HiddenLayers
from keras_fisher.detectors.baselines.reference_detector import ReferenceDetector
from keras_fisher.detectors.baselines.squared_distances import squared_distances
from keras_fisher.typing import Array, Tensor


class _Gaussians(NamedTuple):
    """The classes in one layer, whitened: Σ⁻¹ = WᵀW."""

    #: W (f, f) float64.
    whitening: Array
    #: W μ_c (classes found, f) float64.
    means: Array


class MahalanobisDetector(ReferenceDetector):
    """Tells adversarial images by how far they are from every class, layer by layer.

    Features are, for each hidden layer, the confidence max_c −(f − μ_c)ᵀ Σ⁻¹ (f − μ_c), at most 0, with f the
    layer's channels, averaged over positions, μ_c the mean of class c in the reference and Σ the covariance
    within classes, the same for all. Classes that the model takes no image of the reference for are left out.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked.
        reference: (m, h, w, c), in bounds: clean images, such as training images, more than the channels of a
            layer if their covariance is to be known. Not those that you fit or score.
        magnitude: ε, by how much each pixel is moved, in pixel units, to raise the confidence in the last
            hidden layer, before anything is measured. 0 leaves images as they are.
        shrinkage: s in (0, 1]: Σ is (1 − s) S + s t I, with S the covariance found and t its mean variance.
            It keeps units that are dead on all of the reference from counting infinitely.
        head: "logistic_regression", another name of a head, or an unfitted scikit-learn classifier with
            `predict_proba`, which is cloned.
        seed: of the noisy negatives and of a head given by name.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on.

    Raises:
        TypeError, ValueError: a bad setting, or a model whose hidden layers cannot be seen. `save` raises
            TypeError: images are no plain setting.

    Source: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples and
    adversarial attacks", equations 1 to 3 and algorithm 1. We differ: the reference is classed by the model
    and not by labels; one step along the gradient of the last layer serves all layers, and stays within the
    bounds, where the paper takes one for each layer; Σ is shrunk, not pseudo-inverted; all hidden layers
    count, not the ends of blocks.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.detectors.baselines import MahalanobisDetector
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.FGM(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = MahalanobisDetector(classifier, reference=images[500:])
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> detector.features_of(images[60:100]).shape  # six layers
        (40, 6)
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        reference: Array,
        magnitude: float = 0.0,
        shrinkage: float = 1e-3,
        head: str | BaseEstimator = "logistic_regression",
        *,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(
            classifier, reference, head, pooled=True, seed=seed, batch_size=batch_size, threshold=threshold
        )
        self.magnitude = check_real("magnitude", magnitude, 0.0)
        self.shrinkage = check_real("shrinkage", shrinkage, 0.0, 1.0, exclusive_minimum=True)

    def _learn(self, reference: Activations) -> list[_Gaussians]:
        predicted = reference.logits.argmax(axis=-1)
        return [_fit_gaussians(layer, predicted, self.shrinkage) for layer in reference.layers]

    def _compare(self, images: Array) -> Array:
        layers = self._of_reference()
        if self.magnitude:
            images = self._more_confident(images, layers[-1])
        columns = [
            -squared_distances(found @ whitening.T, means).min(axis=1)
            for found, (whitening, means) in zip(self._hidden(images).layers, layers, strict=True)
        ]
        return np.stack(columns, axis=1)

    def _more_confident(self, images: Array, last: _Gaussians) -> Array:
        """Returns x + ε sign ∇M(x), within the bounds, with M the confidence in the last hidden layer."""
        gradient = self._hidden.programs.run(_distance_gradient, images, *last).numpy()
        # M is minus the distance.
        moved = (images - self.magnitude * np.sign(gradient)).astype(images.dtype)
        bounds = self.classifier.bounds
        return moved if bounds is None else np.clip(moved, *np.asarray(bounds, moved.dtype))


def _distance_gradient(hidden: HiddenLayers, images: Tensor, whitening: Tensor, means: Tensor) -> Tensor:
    """Returns the gradient of the squared distance to the nearest class, in the shape of the images."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        last = tf.cast(hidden.tensors(images).layers[-1], tf.float64) @ tf.transpose(whitening)
        # ‖p − c‖² without ‖p‖², which is the same for all classes.
        relative = tf.reduce_sum(means**2, axis=1) - 2 * last @ tf.transpose(means)
        nearest = tf.gather(means, tf.argmin(relative, axis=1))
        distance = tf.reduce_sum((last - nearest) ** 2)
    return tape.gradient(distance, images)


def _fit_gaussians(layer: Array, predicted: Array, shrinkage: float) -> _Gaussians:
    """Returns the classes in a layer.

    Args:
        layer: (m, f).
        predicted: (m,) integers.
        shrinkage: s.
    """
    layer = layer.astype(np.float64)
    classes, members = np.unique(predicted, return_inverse=True)
    means = np.stack([layer[predicted == index].mean(axis=0) for index in classes])
    centred = layer - means[members]
    covariance = centred.T @ centred / len(layer)
    # A layer that answers the same to all of a class has no spread: distances are then in its own units.
    scale = np.trace(covariance) / len(covariance) or 1.0
    identity = np.eye(len(covariance))
    factor = np.linalg.cholesky((1 - shrinkage) * covariance + shrinkage * scale * identity)
    whitening = solve_triangular(factor, identity, lower=True)
    return _Gaussians(whitening, means @ whitening.T)
