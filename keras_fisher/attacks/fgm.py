"""The fast gradient method."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import float32_loss_gradient, loss_gradient, unit, uphill
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.checks import check_flag
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array, Tensor


@dataclasses.dataclass(frozen=True)
class FGM(OneStepAttack):
    """One step of length epsilon along the gradient of the loss −log p(y|x), l2.

    Its direction is formed from differences of logits and is exact however sure the classifier is; ordinary
    cross-entropy in float32 loses it where softmax saturates.

    Args:
        epsilon: l2 norm of the step.
        clip: keep the images within the classifier's bounds.
        targeted: step towards the class that `targets` names (see also OTCM, which chooses it).
        float32_loss: take the gradient of the ordinary cross-entropy in the model's precision, as other
            libraries do. For comparison: its direction is lost where softmax saturates.

    Source: Goodfellow, Shlens and Szegedy 2014, with the l2 norm; Zhao et al. 2019, section 3.4.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.FGM(epsilon=2.0)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> result.images.shape, bool((result.norms <= 2.0001).all())
        ((8, 28, 28, 1), True)
    """

    _: dataclasses.KW_ONLY
    float32_loss: bool = False

    can_target: ClassVar[bool] = True
    works_on_tensors: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("float32_loss", self.float32_loss)

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        return uphill(classifier, chunk, self.float32_loss)[:, None]

    def directions(
        self, classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor | None, seed: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        gradient = float32_loss_gradient if self.float32_loss else loss_gradient
        gradients, logits = gradient(classifier, images, classes)
        return [unit(gradients)], logits
