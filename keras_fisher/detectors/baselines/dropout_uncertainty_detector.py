"""Detection by how much the answer changes when units drop out."""

from __future__ import annotations

import math

import keras
import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator

from keras_fisher.checks import check_integer, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.baselines.dropout_passes import DropoutPasses
from keras_fisher.detectors.detector import Detector
from keras_fisher.typing import Array, Images

#: ln 1e-100, what no uncertainty counts as: its logarithm is −∞. LeNet-5 gives MNIST digits down to e⁻³⁵.
LOG_FLOOR = math.log(1e-100)


class DropoutUncertaintyDetector(Detector):
    """Tells adversarial images by how much the probabilities change when units drop out at random.

    The feature is log U, at least `LOG_FLOOR`, with U = 1/T Σₜ ‖pₜ‖² − ‖1/T Σₜ pₜ‖², pₜ the probabilities in
    pass t with dropout on and all else, such as batch normalisation, in inference mode.

    Pass t drops the same units of every image: an answer depends on `seed` and `num_samples`, not on the
    other images, their order or the batch size, up to rounding. Another kind of device may draw other units.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked, with a layer of the kinds Dropout,
            SpatialDropout, GaussianDropout or AlphaDropout. Dropout inside other layers (attention,
            recurrent) stays off.
        num_samples: T, at least 2.
        head: "logistic_regression", another name of a head, or an unfitted scikit-learn classifier with
            `predict_proba`, which is cloned.
        seed: of the passes, of the noisy negatives and of a head given by name.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on.

    Raises:
        TypeError, ValueError: a bad setting, or a model without such a layer, or one that does not show its
            logits.

    Source: Feinman et al. 2017, "Detecting adversarial samples from artifacts", section 4.2, T = 50. We
    differ: the logarithm, since U spans many orders of magnitude, and masks that images share.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.detectors.baselines import DropoutUncertaintyDetector
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.FGM(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = DropoutUncertaintyDetector(classifier, num_samples=10)
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> detector.score_samples(images[60:100]).shape
        (40,)
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        num_samples: int = 50,
        head: str | BaseEstimator = "logistic_regression",
        *,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(classifier, head, seed=seed, batch_size=batch_size, threshold=threshold)
        self.num_samples = check_integer("num_samples", num_samples, 2)
        self._passes = DropoutPasses(self.classifier)

    def features_of(self, images: Images) -> Array:
        """Returns (n, 1) float64: log U, at least `LOG_FLOOR`."""
        batches = self.classifier.batches(images, self.batch_size)
        passes = (self._passes.logits(batch, self.seed, self.num_samples) for batch in batches)
        return np.concatenate([np.zeros(0), *map(log_uncertainty, passes)])[:, None]


def log_uncertainty(logits: Array) -> Array:
    """Returns (n,) float64, log of Σ_c Varₜ pₜ_c, which is 1/T Σₜ ‖pₜ‖² − ‖1/T Σₜ pₜ‖², at least `LOG_FLOOR`.

    The difference of two numbers near one would have no digit left where the model is sure. So the variance
    is taken of deviations, and that of the top class, a number near one, as that of 1 − p, which is the same.

    Args:
        logits: (passes, n, classes), any float dtype.
    """
    logits = logits.astype(np.float64)
    log_p = log_softmax(logits, axis=-1)
    is_top = np.arange(logits.shape[-1]) == logits.mean(axis=0).argmax(axis=-1)[:, None]
    log_rest = logsumexp(np.where(is_top, -np.inf, log_p), axis=-1, keepdims=True)
    variance = np.exp(np.where(is_top, log_rest, log_p)).var(axis=0).sum(axis=-1)
    return np.log(np.maximum(variance, math.exp(LOG_FLOOR)))
