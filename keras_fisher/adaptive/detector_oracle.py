"""A detector that answers and counts the questions."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from keras_fisher.checks import message
from keras_fisher.classifiers import Programs
from keras_fisher.typing import Array, Tensor

#: Probabilities nearer to 0 and 1 count as this: forests give exact zeros. Next to 1 float64 tells no less.
_LEAST_PROBABILITY = 1e-15


@runtime_checkable
class Surrogate(Protocol):
    """What can stand for a detector where gradients are needed; compared by identity."""

    def log_odds(self, images: Tensor) -> Tensor:
        """Returns (n,) float64, log p(adversarial) − log p(not), differentiable, for use in a graph."""
        ...


@runtime_checkable
class ScoringDetector(Protocol):
    """What an attack can ask: a fitted detector of `kf.detectors`, or anything like it."""

    #: Images are flagged from this probability on.
    threshold_: float

    def score_samples(self, images: Any) -> Array:
        """Returns (n,) the probability that each image is adversarial."""
        ...


class SelfJudged:
    """A surrogate as its own detector, which flags from even odds on: for a detector that has a gradient.

    Args:
        surrogate: gives log odds.
    """

    threshold_ = 0.5

    def __init__(self, surrogate: Surrogate) -> None:
        self.surrogate = surrogate

    def score_samples(self, images: Array) -> Array:
        """Returns (n,) float64."""
        return tf.sigmoid(self.surrogate.log_odds(tf.convert_to_tensor(images))).numpy()


class DetectorOracle:
    """The answers of a detector to the images of one batch, and how many there were.

    Args:
        detector: what judges.
        positions: (n,) ascending, of the images in what the caller of the attack passed.
    """

    def __init__(self, detector: ScoringDetector, positions: Array) -> None:
        self.detector = detector
        self._positions = positions
        #: (n,) int64
        self.num_queries: Array = np.zeros(len(positions), np.int64)

    def excess(self, positions: Array, images: Array) -> Array:
        """Returns (m,) float64, by how much the log odds exceed those of the threshold: below 0 undetected.

        Args:
            positions: (m,) of the images in what the caller of the attack passed.
            images: (m, h, w, c) perturbed.
        """
        np.add.at(self.num_queries, np.searchsorted(self._positions, positions), 1)
        scores = np.asarray(self.detector.score_samples(images), np.float64)
        excess = log_odds_of(scores) - log_odds_of(self.detector.threshold_)
        # Rounding, or two probabilities beyond the least, must not change sides.
        is_flagged = scores >= self.detector.threshold_
        return np.where(is_flagged, np.maximum(excess, 0.0), np.minimum(excess, -np.finfo(np.float64).tiny))


def log_odds_of(probabilities: Array | float) -> Array:
    """Returns log p − log(1 − p), finite."""
    clipped = np.clip(probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.log(clipped) - np.log1p(-clipped)


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


def log_odds_gradient(surrogate: Surrogate, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the log odds (n,) float64 and their gradient (n, h, w, c), zero where it is not finite."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        log_odds = surrogate.log_odds(images)
    gradient = tape.gradient(log_odds, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # Second derivatives of a saturated net may overflow: no direction is better than a wrong one.
    return log_odds, tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))


def programs_of(surrogate: Any) -> Programs:
    """Returns the compiled programs of a surrogate, which it holds: they go with it."""
    programs = getattr(surrogate, "programs", None)
    if not isinstance(programs, Programs):
        programs = surrogate.programs = Programs(surrogate)
    return programs
