"""Detection by the density of clean images where the last hidden layer puts an image."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator

from keras_fisher.checks import check_real, message, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.hidden_layers import Activations
from keras_fisher.detectors.baselines.reference_detector import ReferenceDetector
from keras_fisher.detectors.baselines.squared_distances import squared_distances
from keras_fisher.typing import Array

#: Far below any use, and (d / bandwidth)² of float32 activations is still finite in float64.
_MIN_BANDWIDTH = 1e-100
#: Bandwidths that are tried, in units of the root mean square distance to the next neighbour over √f, which
#: is where one Gaussian on that neighbour is most likely: steps of 17 %.
_TRIED = np.geomspace(0.1, 10.0, 30)
#: Images of a class that are left out in turn; more would cost minutes on all of MNIST and move little.
_MAX_LEFT_OUT = 500


@dataclasses.dataclass(frozen=True)
class _Density:
    """What is learnt of the reference."""

    #: The last hidden layer (m_c, f) of each class.
    classes: list[Array]
    bandwidth: float


class KernelDensityDetector(ReferenceDetector):
    """Tells adversarial images by how few clean images of the predicted class lie near, in the last layer.

    The feature is the log of a Gaussian kernel density, in nats: log 1/m Σᵢ N(φ(x); φ(xᵢ), h² I), with φ the
    last hidden layer, h the bandwidth and xᵢ the m reference images that the model takes for the class that
    it takes x for.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked.
        reference: (m, h, w, c), in bounds: clean images, such as training images, some of each class. Not
            those that you fit or score: an image lies at distance 0 of itself.
        bandwidth: h, in units of the last hidden layer. None: the one that makes reference images most likely
            when each is left out in turn (at most 500 of a class).
        head: "logistic_regression", another name of a head, or an unfitted scikit-learn classifier with
            `predict_proba`, which is cloned.
        seed: of the noisy negatives and of a head given by name.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on.

    Raises:
        TypeError, ValueError: a bad setting, or a model whose hidden layers cannot be seen. At first use, a
            class for which the model takes no image of the reference, or a reference whose images are all the
            same to the last hidden layer, without a bandwidth. `save` raises TypeError: images are no plain
            setting.

    Source: Feinman et al. 2017, "Detecting adversarial samples from artifacts", section 4.1, and their code,
    whose exponent is −d² / 2h² and not the −d² / h² of the paper (h = 1.26 for their MNIST net and 0.26 for
    CIFAR-10). We differ: the reference is classed by the model and not by labels, so that no labels are
    needed, and the bandwidth is chosen on the reference.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.detectors.baselines import KernelDensityDetector
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.FGM(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = KernelDensityDetector(classifier, reference=images[500:])
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> detector.score_samples(images[60:100]).shape
        (40,)
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        reference: Array,
        bandwidth: float | None = None,
        head: str | BaseEstimator = "logistic_regression",
        *,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(
            classifier,
            reference,
            head,
            only_last=True,
            seed=seed,
            batch_size=batch_size,
            threshold=threshold,
        )
        remedy = "None chooses one."
        self.bandwidth = (
            None if bandwidth is None else check_real("bandwidth", bandwidth, _MIN_BANDWIDTH, remedy=remedy)
        )

    @property
    def bandwidth_(self) -> float:
        """The bandwidth that is used: given, or chosen on the reference."""
        return self._of_reference().bandwidth

    def _learn(self, reference: Activations) -> _Density:
        (last,) = reference.layers
        predicted = reference.logits.argmax(axis=-1)
        num_classes = self.classifier.num_classes
        classes = [last[predicted == index].astype(np.float64) for index in range(num_classes)]
        missing = [index for index, points in enumerate(classes) if not len(points)]
        if missing:
            rule = "hold an image for each class that the classifier takes for it"
            remedy = "Pass more images, some of each class."
            raise ValueError(message("reference", rule, f"none for class {missing[0]}", remedy))
        return _Density(classes, _most_likely(classes) if self.bandwidth is None else self.bandwidth)

    def _compare(self, images: Array) -> Array:
        density = self._of_reference()
        (last,), logits = self._hidden(images)
        predicted = logits.argmax(axis=-1)
        column = np.zeros((len(images), 1))
        for index in np.unique(predicted):
            is_class = predicted == index
            distances = squared_distances(last[is_class], density.classes[index])
            column[is_class, 0] = _log_density(distances, density.bandwidth, last.shape[1])
        return column


def _log_density(distances: Array, bandwidth: float, num_features: int) -> Array:
    """Returns (n,), log 1/m Σᵢ N(x; xᵢ, h² I), from squared distances (n, m); ∞ leaves one out of the sum."""
    exponents = -distances / 2 / bandwidth / bandwidth
    log_norm = num_features * (math.log(bandwidth) + 0.5 * math.log(2 * math.pi))
    num_centres = np.isfinite(distances).sum(axis=1)
    return logsumexp(exponents, axis=1) - np.log(num_centres) - log_norm


def _most_likely(classes: list[Array]) -> float:
    """Returns the bandwidth with the largest sum of log densities of images that are left out in turn.

    Raises:
        ValueError: no distance above zero to choose by.
    """
    num_features = classes[0].shape[1]
    left_out = [_distances_to_others(points) for points in classes if len(points) >= 2]
    nearest = np.concatenate([distances.min(axis=1) for distances in left_out]) if left_out else np.zeros(1)
    unit = math.sqrt(nearest.mean() / num_features)
    if not unit >= _MIN_BANDWIDTH:
        found = "no two that differ in one class"
        remedy = "Pass more images, or a bandwidth."
        raise ValueError(
            message("reference", "hold images that differ in the last hidden layer", found, remedy)
        )
    likelihoods = [
        sum(_log_density(distances, unit * factor, num_features).sum() for distances in left_out)
        for factor in _TRIED
    ]
    return float(unit * _TRIED[int(np.argmax(likelihoods))])


def _distances_to_others(points: Array) -> Array:
    """Returns (min(m, 500), m) squared distances between points, ∞ from each to itself."""
    distances = squared_distances(points[:_MAX_LEFT_OUT], points)
    np.fill_diagonal(distances, np.inf)
    return distances
