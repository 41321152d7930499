"""Attacks towards a wrong class that they choose themselves, and the choice of such classes."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import keras
import numpy as np

from keras_fisher.attacks.attack import Attack, fixed
from keras_fisher.attacks.batch import Batch
from keras_fisher.attacks.directions import Direction, loss_ascent_direction
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.checks import check_integer, check_option, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.classifiers.image_check import check_labels
from keras_fisher.typing import Array, Images, Labels


@suggests_keywords
def random_targets(labels: Labels, num_classes: int, seed: int = 0) -> Array:
    """Returns (n,) int64, for each image a uniformly random class that is not its label.

    Args:
        labels: (n,) class indices.
        num_classes: int, C ≥ 2.
        seed: int, default 0. With the position of an image it determines its target.

    Raises:
        TypeError, ValueError: labels that are no classes, or a bad number.

    Example:
        >>> import keras_fisher as kf
        >>> targets = kf.attacks.random_targets([3, 3, 1], num_classes=10)
        >>> targets.shape, bool((targets != [3, 3, 1]).all())
        ((3,), True)
    """
    check_integer("num_classes", num_classes, 2)
    check_integer("seed", seed, 0)
    known = check_labels(labels, np.size(labels), num_classes)
    offsets = [np.random.default_rng([seed, place]).integers(1, num_classes) for place in range(len(known))]
    return (known + np.asarray(offsets, np.int64)) % num_classes


@suggests_keywords
def least_likely_targets(
    classifier: Classifier | keras.Model, images: Images, labels: Labels, batch_size: int | None = None
) -> Array:
    """Returns (n,) int64, for each image the class of least probability that is not its label.

    Args:
        classifier: a Classifier or a keras.Model.
        images: (n, h, w, c) within the bounds.
        labels: (n,) class indices.
        batch_size: int, default None. Images at once; None chooses by their size.

    Raises:
        TypeError, ValueError: images or labels that do not fit.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial machine learning at scale".

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> kf.attacks.least_likely_targets(kf.models.lenet5(weights="mnist"), images[:4], labels[:4]).shape
        (4,)
    """
    classifier = as_classifier(classifier)
    logits = np.array(classifier.logits(images, batch_size))
    known = check_labels(labels, len(logits), classifier.num_classes)
    logits[np.arange(len(logits)), known] = np.inf
    return logits.argmin(axis=-1)


@dataclasses.dataclass(frozen=True)
class TargetClassAttack(Attack):
    """An attack that moves towards a class in any case, and chooses one where the call names none.

    Args:
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Count only that class as a success. The paper counts any wrong class.
        target: str, default "random", uniform among the wrong classes; or "least_likely".
        seed: int, default 0. Of the random choice.
    """

    _: dataclasses.KW_ONLY
    target: str = "random"
    seed: int = 0

    can_target: ClassVar[bool] = True
    chooses_targets: ClassVar[bool] = True
    # Training gives an attack labels, and no classes to go for.
    works_in_training: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("target", self.target, ("random", "least_likely"))
        check_integer("seed", self.seed, 0)

    def choose_targets(self, classifier: Classifier, batch: Batch, batch_size: int | None) -> Array:
        if self.target == "random":
            return random_targets(batch.labels, classifier.num_classes, self.seed)
        return least_likely_targets(classifier, batch.images, batch.labels, batch_size)


@dataclasses.dataclass(frozen=True)
class OTCM(TargetClassAttack, OneStepAttack):
    """One step of length epsilon down the gradient of −log p(t|x), l2, for a wrong class t.

    Args:
        epsilon: float, default None. l2 norm of the step; None is the range of the bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Count only t as a success. The paper counts any wrong class.
        target: str, default "random". How to choose t where the call gives no `targets`: "random", uniform
            among the wrong classes (the paper's), or "least_likely".
        seed: int, default 0. Of the random choice.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial machine learning at scale", section 3, with the
    l2 norm; Zhao et al. 2019, section 3.4.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.OTCM(epsilon=2.0, target="least_likely")
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    direction: Direction = fixed(loss_ascent_direction)


@dataclasses.dataclass(frozen=True)
class IterativeOTCM(TargetClassAttack, IterativeAttack):
    """Steps down the gradient of −log p(t|x), l2, for a wrong class t that stays the same.

    Args:
        epsilon: float, default None. l2 radius of the ball around each image; None is the range of the
            bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Count only t as a success. The paper counts any wrong class.
        steps: int, default 20. The most iterations.
        step_size: float, default None. l2 norm of one step; None is 2.5 · epsilon / steps.
        early_stop: bool, default True. Let an image leave as soon as it is fooled. False goes on to the
            largest margin.
        target: str, default "random". How to choose t where the call gives no `targets`: "random" or
            "least_likely".
        seed: int, default 0. Of the random choice.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial examples in the physical world", section 2.3,
    with the l2 norm; Zhao et al. 2019, section 3.4.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.IterativeOTCM(epsilon=2.0, steps=10)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    direction: Direction = fixed(loss_ascent_direction)
