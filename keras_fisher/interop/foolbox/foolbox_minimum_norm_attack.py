"""An attack of Foolbox without an epsilon as one of ours."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf
from foolbox.attacks.base import Attack as FoolboxAttack

from keras_fisher.attacks import Attempt, Batch, MinimumNormAttack, attempt_at
from keras_fisher.attacks.image_ops import clip_to
from keras_fisher.classifiers import Classifier
from keras_fisher.interop.foolbox.wrapped_attack import call_foolbox, check_bounded, check_settings


@dataclasses.dataclass(frozen=True)
class FoolboxMinimumNormAttack(MinimumNormAttack):
    """A Foolbox attack that minimises the perturbation; see `from_foolbox`, which makes it.

    Images that are misclassified as they are stay so, and do not go to Foolbox. Where the attack fails, the
    image is what Foolbox ended with, or the original where that is none: NaN, or the zeros that its
    Carlini–Wagner and EAD attacks return for a failure and often count as a success. `num_iterations` counts
    the calls of the model by the attack.

    Args:
        clip: True; Foolbox knows no other way.
        targeted: seek the class that `targets` names.
        attack: the attack object of Foolbox.
        seed: of TensorFlow's and NumPy's global random states.

    Example:
        >>> import foolbox
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.interop.foolbox.FoolboxMinimumNormAttack(attack=foolbox.attacks.L2DeepFoolAttack())
        >>> bool(attack(kf.models.lenet5(weights="mnist"), images[:4], labels[:4]).success.all())
        True
    """

    _: dataclasses.KW_ONLY
    attack: FoolboxAttack
    seed: int = 0

    can_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self.attack, False, self.clip, self.seed)

    def check_classifier(self, classifier: Classifier) -> None:
        check_bounded(classifier)

    def search(self, classifier: Classifier, batch: Batch) -> Attempt:
        found, num_calls = call_foolbox(self.attack, classifier, batch, None, self.seed)
        return attempt_at(classifier, batch, clip_to(classifier.bounds, tf.constant(found)), num_calls)
