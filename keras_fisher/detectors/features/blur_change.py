"""What a light blur does to the spectrum."""

from __future__ import annotations

import dataclasses

from keras_fisher.checks import check_real
from keras_fisher.detectors.features.feature import Feature
from keras_fisher.detectors.features.image_view import ImageView, check_blurred_shape
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class BlurChange(Feature):
    """The change of the log eigenvalues under a light blur: C − 1 columns, for the passes of one more image.

    A clean image keeps its place in the landscape; an adversarial one, however deep in the wrong class, owes
    it to fine detail.

    Args:
        sigma: standard deviation of the Gaussian in pixels, in a window of 3 × 3.

    Source: ours; Xu, Evans and Qi 2018 compare predictions before and after smoothing.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("sigma", self.sigma, 0.0, exclusive_minimum=True)

    def check_image_shape(self, image_shape: tuple[int | None, ...]) -> None:
        check_blurred_shape(image_shape)

    def of(self, view: ImageView) -> Tensor:
        return view.blurred(self.sigma).log_eigenvalues() - view.log_eigenvalues()
