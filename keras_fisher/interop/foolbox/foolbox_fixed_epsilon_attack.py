"""A fixed-epsilon attack of Foolbox as one of ours."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from foolbox.attacks.base import Attack as FoolboxAttack

from keras_fisher.attacks import Attempt, Chunk, FixedEpsilonAttack
from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.classifiers import Classifier
from keras_fisher.interop.foolbox.wrapped_attack import (
    call_foolbox,
    check_bounded,
    check_settings,
)
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class FoolboxFixedEpsilonAttack(FixedEpsilonAttack):
    """A Foolbox attack that stays within epsilon; see `from_foolbox`, which makes it.

    Images with the same epsilon go to Foolbox together. `num_iterations` counts the calls of the model by the
    attack.

    Args:
        epsilon: the radius, in the norm of the Foolbox attack.
        clip: True; Foolbox knows no other way.
        targeted: seek the class that `targets` names.
        attack: the attack object of Foolbox.
        seed: of TensorFlow's and NumPy's global random states.

    Example:
        >>> import foolbox
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.interop.foolbox.FoolboxFixedEpsilonAttack(
        ...     0.1, attack=foolbox.attacks.LinfPGD(steps=5)
        ... )
        >>> result = attack(kf.models.lenet5(weights="mnist"), images[:4], labels[:4])
        >>> bool((abs(result.images - images[:4]) <= 0.10001).all())
        True
    """

    _: dataclasses.KW_ONLY
    attack: FoolboxAttack
    seed: int = 0

    can_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self.attack, True, self.clip, self.seed)

    def check_classifier(self, classifier: Classifier) -> None:
        check_bounded(classifier)

    def prepare(self, classifier: Classifier, chunk: Chunk) -> None:
        return None

    def perturb(self, classifier: Classifier, chunk: Chunk, prepared: Any, epsilon: Array) -> Attempt:
        best = BestAttempt(chunk)
        for value in np.unique(epsilon[epsilon > 0]):
            positions = np.flatnonzero(epsilon == value)
            found, num_calls = call_foolbox(
                self.attack, classifier, chunk.select(positions), float(value), self.seed
            )
            best.images[positions] = self.restrict(classifier, found)
            best.num_iterations[positions] = num_calls
        return best.attempt(classifier, chunk)
