"""The one-step target class method."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.gradients import uphill
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.attacks.targets import TARGET_CHOICES, choose_targets
from keras_fisher.checks import check_integer, check_option
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class OTCM(OneStepAttack):
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

    _: dataclasses.KW_ONLY
    target: str = "random"
    seed: int = 0

    can_target: ClassVar[bool] = True
    chooses_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("target", self.target, TARGET_CHOICES)
        check_integer("seed", self.seed, 0)

    def choose_targets(self, classifier: Classifier, chunk: Chunk, batch_size: int | None) -> Array:
        return choose_targets(self.target, self.seed, classifier, chunk, batch_size)

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        return uphill(classifier, chunk)[:, None]
