"""The gradient of a detector of which only scores are known."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.detector_guide import DetectorGuide
from keras_fisher.attacks.detector_oracle import DetectorOracle, ScoringDetector
from keras_fisher.attacks.gradients import unit_rows
from keras_fisher.checks import check_integer, check_real, message
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreGradient(DetectorGuide):
    """The gradient of a detector's log odds, estimated from its scores at random neighbours, in pairs.

    g = Σ (s(x + σu) − s(x − σu)) u over Gaussian u: the gradient of s smoothed over σ, which has one where
    the scores of a forest go in steps. Each step of an attack asks 2 · `num_pairs` times.

    Args:
        detector: a fitted detector, which is asked for `score_samples` and nothing else.
        num_pairs: of neighbours.
        smoothing: σ, standard deviation in pixels. Neighbours are cut at the bounds.
        seed: with the position of an image and the step it determines the neighbours.

    Raises:
        TypeError, ValueError: a bad setting, or a detector that is not fitted.

    Source: Ilyas, Engstrom, Athalye and Lin 2018, "Black-box adversarial attacks with limited queries and
    information", section 2.1, of the detector alone; the classifier's gradient is known.

    Example:
        >>> import keras_fisher as kf
        >>> detector = kf.load_detector(kf.artefacts.saved_model_path("lenet5_mnist_detector"))
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.DetectorAware(kf.attacks.ScoreGradient(detector, num_pairs=4), epsilon=2.0)
        >>> attack(detector.classifier, images[:2], labels[:2]).num_queries.shape
        (2,)
    """

    detector: ScoringDetector
    _: dataclasses.KW_ONLY
    num_pairs: int = 25
    smoothing: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_detector("detector", self.detector)
        check_integer("num_pairs", self.num_pairs, 1)
        check_real("smoothing", self.smoothing, 0.0, exclusive_minimum=True)
        check_integer("seed", self.seed, 0)

    def downhill(
        self, classifier: Classifier, oracle: DetectorOracle, chunk: Chunk, images: Array, step: int
    ) -> Array:
        shape = (self.num_pairs, *images.shape[1:])
        generators = [np.random.default_rng([self.seed, step, place]) for place in chunk.positions]
        # (n, pairs, h, w, c)
        noise = np.stack([generator.standard_normal(shape) for generator in generators])
        shift = (self.smoothing * noise).astype(images.dtype)
        differences = self._ask(classifier, oracle, chunk, images[:, None] + shift) - self._ask(
            classifier, oracle, chunk, images[:, None] - shift
        )
        return unit_rows(-np.einsum("np,np...->n...", differences, noise)).astype(images.dtype)

    def _ask(self, classifier: Classifier, oracle: DetectorOracle, chunk: Chunk, images: Array) -> Array:
        """Returns (n, pairs) log odds of images (n, pairs, h, w, c)."""
        if classifier.bounds is not None:
            images = np.clip(images, *np.asarray(classifier.bounds, images.dtype))
        flat = images.reshape(-1, *images.shape[2:])
        return oracle.excess(np.repeat(chunk.positions, self.num_pairs), flat).reshape(-1, self.num_pairs)


def check_detector(argument: str, detector: object) -> ScoringDetector:
    """Returns the detector, one that can be asked.

    Raises:
        TypeError: it gives no scores.
        ValueError: it is not fitted.
    """
    if isinstance(detector, type) or not hasattr(detector, "score_samples"):
        remedy = "Detectors: kf.FisherDetector, kf.load_detector(path)."
        raise TypeError(message(argument, "give scores of images", repr(detector), remedy))
    if not isinstance(detector, ScoringDetector):
        remedy = "Call fit(clean, adversarial) first."
        raise ValueError(message(argument, "be fitted", "one without a threshold_", remedy))
    return detector
