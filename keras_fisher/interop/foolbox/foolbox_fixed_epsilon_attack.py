"""A fixed-epsilon attack of Foolbox as one of ours."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf
from foolbox.attacks.base import Attack as FoolboxAttack

from keras_fisher.attacks import Attempt, Batch, FixedEpsilonAttack, attempt_at
from keras_fisher.attacks.image_ops import clip_to
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

    def prepare(self, classifier: Classifier, batch: Batch) -> Array:
        return attempt_at(classifier, batch, batch.images).predictions

    def attempt(self, classifier: Classifier, batch: Batch, prepared: Array, epsilon: Array) -> Attempt:
        images, counts = batch.images.copy(), np.zeros(len(batch), np.int64)
        for value in np.unique(epsilon[epsilon > 0]):
            rows = np.flatnonzero(epsilon == value)
            found, counts[rows] = call_foolbox(
                self.attack, classifier, batch.select(rows), float(value), self.seed
            )
            images[rows] = clip_to(classifier.bounds, tf.constant(found))
        attempt = attempt_at(classifier, batch, images, counts)
        return attempt._replace(clean_predictions=np.asarray(prepared))
