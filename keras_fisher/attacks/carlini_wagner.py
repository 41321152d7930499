"""The attack of Carlini and Wagner."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.penalty_attack import PenaltyAttack
from keras_fisher.checks import check_real
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Tensor

#: tanh w at a bound. Nearer to 1 a pixel there hardly moves with w: at 0.999999, as in other codes, black
#: backgrounds stay black for hundreds of steps. What exceeds the bounds is clipped.
_INSIDE = 0.99


@dataclasses.dataclass(frozen=True)
class CarliniWagner(PenaltyAttack):
    """min ‖x' − x‖² + c · max(z_y − max_{j≠y} z_j + κ, 0), over w with x' = tanh w, by Adam; c by search.

    Args:
        clip: keep the images within the classifier's bounds, by tanh. Without bounds Adam moves the pixels.
        targeted: seek the class that `targets` names.
        steps: of Adam, for each c. Carlini and Wagner take 10,000.
        step_size: of Adam, in w.
        binary_search_steps: how many c are tried.
        initial_const: the first c; ten times more until it fools, then bisection. None takes for each image
            2 f / ‖∇f‖² over the pixels that can move, what would do if f were linear.
        abort_early: let images leave whose loss no longer falls, checked ten times in a run.
        confidence: κ, by how much the logit of the wrong class must exceed the label's. Where κ is not
            reached, the image with the largest margin is returned; `success` tells of the answer, not of κ.

    Source: Carlini and Wagner 2017, "Towards evaluating the robustness of neural networks", section VI-A,
    with f₆. Their code stops the run of a whole batch; here each image stops by itself and leaves the batch,
    and starts at a c of its own (`initial_const=1e-3` is theirs). The bounds are at tanh w = ±0.99, not ±1,
    so that black pixels can move. With ten search steps and more the last one takes the best c again, as in
    their code. An image without success is the iterate with the least margin, never zeros.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.CarliniWagner(steps=50, binary_search_steps=3)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:4], labels[:4]).success.shape
        (4,)
    """

    _: dataclasses.KW_ONLY
    confidence: float = 0.0

    can_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("confidence", self.confidence, 0.0)

    @property
    def margin_wanted(self) -> float:
        return self.confidence

    def to_variables(self, classifier: Classifier, images: Tensor) -> Tensor:
        if not self._has_box(classifier):
            return images
        centre, radius = self._box(classifier, images)
        return tf.atanh((images - centre) / radius * _INSIDE)

    def to_images(self, classifier: Classifier, variables: Tensor) -> tuple[Tensor, Tensor]:
        if not self._has_box(classifier):
            return variables, tf.ones_like(variables)
        centre, radius = self._box(classifier, variables)
        tanh = tf.tanh(variables)
        images = self.restrict_tensor(classifier, centre + radius / _INSIDE * tanh)
        return images, radius / _INSIDE * (1 - tf.square(tanh))

    def restrict_variables(self, classifier: Classifier, variables: Tensor) -> Tensor:
        if not self._has_box(classifier):
            return variables
        # Farther out nothing changes, and Adam would need as many steps to come back.
        return tf.clip_by_value(variables, -math.atanh(_INSIDE), math.atanh(_INSIDE))

    def penalty(self, logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        is_class = tf.one_hot(classes, logits.shape[1], dtype=tf.float64)
        others = tf.where(is_class > 0, tf.constant(-np.inf, tf.float64), logits)
        rival = tf.one_hot(tf.argmax(others, axis=-1), logits.shape[1], dtype=tf.float64)
        contrast = rival - is_class if self.targeted else is_class - rival
        gap = tf.reduce_sum(contrast * logits, axis=-1) + self.confidence
        return tf.maximum(gap, 0.0), tf.where(gap[:, None] >= 0, contrast, tf.zeros_like(contrast))

    def _has_box(self, classifier: Classifier) -> bool:
        return self.clip and classifier.bounds is not None

    def _box(self, classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = np.asarray(classifier.bounds, images.dtype.as_numpy_dtype)
        return 0.5 * (lower + upper), 0.5 * (upper - lower)
