"""The optimisation attack."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from keras_fisher.attacks.best_attempt import BestAttempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.penalty_attack import PenaltyAttack
from keras_fisher.classifiers import Classifier, class_odds
from keras_fisher.typing import Tensor

#: Bisections of each perturbation at the end, and the share of it that they may leave.
_BISECTIONS, _LEAST_SHARE = 6, 0.75


@dataclasses.dataclass(frozen=True)
class Opt(PenaltyAttack):
    """min ‖x' − x‖² + c · loss over the pixels, by Adam; c by search.

    The loss is −log(1 − p_y), or −log p_t for a target t.

    Args:
        clip: keep the images within the classifier's bounds, by projection after each step.
        targeted: seek the class that `targets` names.
        steps: of Adam, for each c.
        step_size: of Adam, in pixels.
        binary_search_steps: how many c are tried.
        initial_const: the first c; ten times more until it fools, then bisection. None takes for each image
            2 loss / ‖∇ loss‖² over the pixels that can move, what would do if the loss were linear.
        abort_early: let images leave whose loss no longer falls, checked ten times in a run.

    Source: Liu, Chen, Liu and Song 2016, "Delving into transferable adversarial examples and black-box
    attacks", Eqs. (2) and (5), where λ = 1/c is fixed by hand. We look for the largest λ that fools, as
    Szegedy et al. 2014 do, take the squared distance, form the losses from differences of logits, and bisect
    between image and result at the end.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.Opt(steps=50, binary_search_steps=3)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:4], labels[:4]).success.shape
        (4,)
    """

    can_target: ClassVar[bool] = True

    def search(self, classifier: Classifier, chunk: Chunk, best: BestAttempt) -> None:
        super().search(classifier, chunk, best)
        best.images = self.shorten(classifier, chunk, best.images, _LEAST_SHARE, _BISECTIONS)

    def to_variables(self, classifier: Classifier, images: Tensor) -> Tensor:
        return images

    def to_images(self, classifier: Classifier, variables: Tensor) -> tuple[Tensor, Tensor]:
        return variables, tf.ones_like(variables)

    def restrict_variables(self, classifier: Classifier, variables: Tensor) -> Tensor:
        return self.restrict_tensor(classifier, variables)

    def penalty(self, logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        odds = class_odds(logits, classes)
        if self.targeted:
            share = tf.exp(odds.log_rest)  # −log p_t has the gradient (1 − p_t)(q − e_t)
            return -odds.log_probability, share[:, None] * odds.loss_gradient
        share = tf.exp(odds.log_probability)  # −log(1 − p_y) has the gradient −p_y (q − e_y)
        return -odds.log_rest, -share[:, None] * odds.loss_gradient
