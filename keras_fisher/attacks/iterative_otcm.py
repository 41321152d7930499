"""The iterative target class method."""

from __future__ import annotations

import dataclasses

from keras_fisher.attacks.gradients import loss_gradient, unit
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.attacks.target_class_attack import TargetClassAttack
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class IterativeOTCM(TargetClassAttack, IterativeAttack):
    """Steps down the gradient of −log p(t|x), l2, for a wrong class t that stays the same.

    Args:
        epsilon: l2 radius of the ball around each image.
        clip: keep the images within the classifier's bounds.
        targeted: count only t as a success. The paper counts any wrong class.
        steps: the most iterations.
        step_size: l2 norm of one step; None is 2.5 · epsilon / steps.
        early_stop: let an image leave as soon as it is fooled. False goes on to the largest margin.
        target: how to choose t where the call gives no `targets`: "random" or "least_likely".
        seed: of the random choice.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial examples in the physical world", section 2.3,
    with the l2 norm; Zhao et al. 2019, section 3.4.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.IterativeOTCM(epsilon=2.0, steps=10)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    def direction(
        self, classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        gradients, logits = loss_gradient(classifier, images, classes)
        return -unit(gradients), logits
