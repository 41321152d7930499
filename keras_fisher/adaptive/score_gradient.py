"""Which way a detector takes an image for a clean one: by its gradient, or by its scores alone."""

from __future__ import annotations

import abc
import dataclasses

import numpy as np
import tensorflow as tf

from keras_fisher.adaptive.detector_oracle import (
    DetectorOracle,
    ScoringDetector,
    Surrogate,
    check_detector,
    log_odds_gradient,
    programs_of,
)
from keras_fisher.attacks import unit
from keras_fisher.attacks.attack import check_length
from keras_fisher.attacks.image_ops import Bounds, pixel_range
from keras_fisher.checks import KnowsKeywords, check_integer
from keras_fisher.typing import Array, Tensor

#: σ where none is given, in ranges of the pixels.
_SMOOTHING = 0.05


class DetectorGuide(abc.ABC):
    """Finds directions in which the detector's log odds fall."""

    @abc.abstractmethod
    def downhill(
        self, bounds: Bounds | None, oracle: DetectorOracle, positions: Array, images: Tensor, step: int
    ) -> Tensor:
        """Returns (n, h, w, c) unit directions towards "not adversarial"; zero where there is none.

        Args:
            bounds: of the pixels.
            oracle: answers and counts, of a guide that asks.
            positions: (n,) of the images, which determine what is drawn.
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
        self, bounds: Bounds | None, oracle: DetectorOracle, positions: Array, images: Tensor, step: int
    ) -> Tensor:
        return programs_of(self.surrogate).run(_downhill, images)


def _downhill(surrogate: Surrogate, images: Tensor) -> Tensor:
    return unit(-log_odds_gradient(surrogate, images)[1])


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreGradient(KnowsKeywords, DetectorGuide):
    """The gradient of a detector's log odds, estimated from its scores at random neighbours, in pairs.

    g = Σ (s(x + σu) − s(x − σu)) u over Gaussian u: the gradient of s smoothed over σ, which has one where
    the scores of a forest go in steps. Each step of an attack asks 2 · `num_pairs` times.

    Args:
        detector: a fitted detector, which is asked for `score_samples` and nothing else.
        num_pairs: int, default 25. Of neighbours.
        smoothing: float, default None. σ, standard deviation in pixels; None is 0.05 of the range of the
            bounds. Neighbours are cut at the bounds.
        seed: int, default 0. With the position of an image and the step it determines the neighbours.

    Raises:
        TypeError, ValueError: a bad setting, or a detector that is not fitted.

    Source: Ilyas, Engstrom, Athalye and Lin 2018, "Black-box adversarial attacks with limited queries and
    information", section 2.1, of the detector alone; the classifier's gradient is known.

    Example:
        >>> import keras_fisher as kf
        >>> detector = kf.load_detector(kf.artefacts.saved_model_path("lenet5_mnist_detector"))
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.adaptive.DetectorAware(kf.adaptive.ScoreGradient(detector, num_pairs=4), epsilon=2.0)
        >>> attack(detector.classifier, images[:2], labels[:2]).num_queries.shape
        (2,)
    """

    detector: ScoringDetector
    _: dataclasses.KW_ONLY
    num_pairs: int = 25
    smoothing: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_detector("detector", self.detector)
        check_integer("num_pairs", self.num_pairs, 1)
        check_length("smoothing", self.smoothing)
        check_integer("seed", self.seed, 0)

    def downhill(
        self, bounds: Bounds | None, oracle: DetectorOracle, positions: Array, images: Tensor, step: int
    ) -> Tensor:
        pixels = np.asarray(images)
        smoothing = _SMOOTHING * pixel_range(bounds) if self.smoothing is None else self.smoothing
        shape = (self.num_pairs, *pixels.shape[1:])
        generators = [np.random.default_rng([self.seed, step, place]) for place in positions]
        # (n, pairs, h, w, c)
        noise = np.stack([generator.standard_normal(shape) for generator in generators])
        shift = (smoothing * noise).astype(pixels.dtype)
        above, below = (
            self._ask(bounds, oracle, positions, pixels[:, None] + side) for side in (shift, -shift)
        )
        return unit(tf.constant(-np.einsum("np,np...->n...", above - below, noise), images.dtype))

    def _ask(self, bounds: Bounds | None, oracle: DetectorOracle, positions: Array, images: Array) -> Array:
        """Returns (n, pairs) log odds of images (n, pairs, h, w, c)."""
        if bounds is not None:
            images = np.clip(images, *np.asarray(bounds, images.dtype))
        flat = images.reshape(-1, *images.shape[2:])
        return oracle.excess(np.repeat(positions, self.num_pairs), flat).reshape(-1, self.num_pairs)
