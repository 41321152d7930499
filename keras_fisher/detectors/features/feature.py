"""What a detector can read of an image."""

from __future__ import annotations

import abc

from keras_fisher.checks import Settings
from keras_fisher.detectors.features.image_view import ImageView
from keras_fisher.typing import Tensor


class Feature(Settings, abc.ABC):
    """One group of numbers that a detector's head is given of each image.

    Features are frozen dataclasses: they compare, and are stored, by their settings. Several together are a
    tuple, whose columns stand side by side; what they share (the forward pass, the Jacobian) is paid once.
    """

    @abc.abstractmethod
    def of(self, view: ImageView) -> Tensor:
        """Returns (batch, columns) float64, finite; the number of columns does not depend on the images.

        For use inside a `tf.function`.
        """

    def check_image_shape(self, image_shape: tuple[int | None, ...]) -> None:
        """Refuses images that the feature cannot read, by a ValueError; most read any."""
        return
