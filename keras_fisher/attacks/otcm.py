"""The one-step target class method."""

from __future__ import annotations

import dataclasses

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import uphill
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.attacks.target_class_attack import TargetClassAttack
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class OTCM(TargetClassAttack, OneStepAttack):
    """One step of length epsilon down the gradient of −log p(t|x), l2, for a wrong class t.

    Args:
        epsilon: l2 norm of the step.
        clip: keep the images within the classifier's bounds.
        targeted: count only t as a success. The paper counts any wrong class.
        target: how to choose t where the call gives no `targets`: "random", uniform among the wrong classes
            (the paper's), or "least_likely".
        seed: of the random choice.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial machine learning at scale", section 3, with the
    l2 norm; Zhao et al. 2019, section 3.4.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.OTCM(epsilon=2.0, target="least_likely")
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        return uphill(classifier, chunk)[:, None]
