"""Which way a detector takes an image for a clean one."""

from __future__ import annotations

import abc
import dataclasses

import tensorflow as tf

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.detector_oracle import DetectorOracle, Surrogate
from keras_fisher.attacks.gradients import unit
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array, Tensor


class DetectorGuide(abc.ABC):
    """Finds directions in which the detector's log odds fall."""

    @abc.abstractmethod
    def downhill(
        self, classifier: Classifier, oracle: DetectorOracle, chunk: Chunk, images: Array, step: int
    ) -> Array:
        """Returns (n, h, w, c) unit directions towards "not adversarial"; zero where there is none.

        Args:
            classifier: keeps compiled programs, and knows the bounds.
            oracle: answers and counts, of a guide that asks.
            chunk: n images with their positions, which determine what is drawn.
            images: (n, h, w, c) where the attack stands.
            step: the number of the step.
        """


@dataclasses.dataclass(frozen=True)
class SurrogateGuide(DetectorGuide):
    """Follows the gradient of a surrogate.

    Args:
        surrogate: gives log odds.
    """

    surrogate: Surrogate

    def downhill(
        self, classifier: Classifier, oracle: DetectorOracle, chunk: Chunk, images: Array, step: int
    ) -> Array:
        def run(images: Tensor) -> Tensor:
            return unit(-log_odds_gradient(self.surrogate, images)[1])

        program = classifier.program(("log_odds_gradient", self.surrogate), run, images.shape[1:])
        return program(tf.convert_to_tensor(images)).numpy()


def log_odds_gradient(surrogate: Surrogate, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the log odds (n,) float64 and their gradient (n, h, w, c), zero where it is not finite."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        log_odds = surrogate.log_odds(images)
    gradient = tape.gradient(log_odds, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # Second derivatives of a saturated net may overflow: no direction is better than a wrong one.
    return log_odds, tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))
