"""Detection by kernel density and dropout uncertainty together."""

from __future__ import annotations

import keras
import numpy as np
from sklearn.base import BaseEstimator

from keras_fisher.checks import suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.baselines.dropout_uncertainty_detector import DropoutUncertaintyDetector
from keras_fisher.detectors.baselines.kernel_density_detector import KernelDensityDetector
from keras_fisher.detectors.detector import Detector
from keras_fisher.typing import Array, Images


class DensityUncertaintyDetector(Detector):
    """Tells adversarial images by log kernel density and log dropout uncertainty, its two features.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked, with dropout.
        reference: (m, h, w, c): of `KernelDensityDetector`. Not images that you fit or score.
        bandwidth: of `KernelDensityDetector`.
        num_samples: of `DropoutUncertaintyDetector`.
        head: "logistic_regression", another name of a head, or an unfitted scikit-learn classifier with
            `predict_proba`, which is cloned.
        seed: of the passes, of the noisy negatives and of a head given by name.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on.

    Raises:
        TypeError, ValueError: as the two do. `save` raises TypeError: images are no plain setting.

    Source: Feinman et al. 2017, "Detecting adversarial samples from artifacts", section 5.3. We differ as the
    two do.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.detectors.baselines import DensityUncertaintyDetector
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.FGM(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = DensityUncertaintyDetector(classifier, reference=images[500:], num_samples=10)
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> detector.features_of(images[60:100]).shape
        (40, 2)
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        reference: Array,
        bandwidth: float | None = None,
        num_samples: int = 50,
        head: str | BaseEstimator = "logistic_regression",
        *,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(classifier, head, seed=seed, batch_size=batch_size, threshold=threshold)
        self._density = KernelDensityDetector(self.classifier, reference, bandwidth, batch_size=batch_size)
        self._uncertainty = DropoutUncertaintyDetector(
            self.classifier, num_samples, seed=seed, batch_size=batch_size
        )
        self.reference = self._density.reference
        self.bandwidth = self._density.bandwidth
        self.num_samples = self._uncertainty.num_samples

    @property
    def bandwidth_(self) -> float:
        """The bandwidth that is used: given, or chosen on the reference."""
        return self._density.bandwidth_

    def features_of(self, images: Images) -> Array:
        """Returns (n, 2) float64: log density in nats, log U; see the two detectors."""
        parts = (self._density, self._uncertainty)
        # Batch by batch: a Dataset may shuffle, and is to be read once.
        batches = self.classifier.batches(images, self.batch_size)
        rows = [np.concatenate([part.features_of(batch) for part in parts], axis=1) for batch in batches]
        return np.concatenate([np.zeros((0, len(parts))), *rows])
