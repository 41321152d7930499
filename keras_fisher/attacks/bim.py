"""The basic iterative method."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from keras_fisher.attacks.gradients import loss_gradient, unit
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class BIM(IterativeAttack):
    """Steps along the gradient of the loss −log p(y|x), from the image itself, l2.

    Args:
        epsilon: l2 radius of the ball around each image.
        clip: keep the images within the classifier's bounds.
        targeted: down the loss of the class that `targets` names.
        steps: the most iterations.
        step_size: l2 norm of one step; None is 2.5 · epsilon / steps.
        early_stop: let an image leave as soon as it is fooled. False goes on to the largest margin.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial examples in the physical world", section 2.2,
    with the l2 norm. Directions are exact where softmax saturates, where ordinary cross-entropy has none.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.BIM(2.0, steps=10)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> bool((result.norms <= 2.0001).all()), bool((result.num_iterations <= 10).all())
        (True, True)
    """

    can_target: ClassVar[bool] = True
    works_on_tensors: ClassVar[bool] = True

    def direction(
        self, classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        gradients, logits = loss_gradient(classifier, images, classes)
        directions = unit(gradients)
        return (-directions if self.targeted else directions), logits
