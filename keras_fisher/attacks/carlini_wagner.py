"""The attack of Carlini and Wagner, and the optimisation attack that came before it."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.batch import EXACTLY, Batch, Goal
from keras_fisher.attacks.image_ops import Bounds, clip_to, pixel_range
from keras_fisher.attacks.penalty_attack import Objective, PenaltyAttack
from keras_fisher.classifiers import class_odds
from keras_fisher.typing import Tensor

#: Of Adam, in tanh space, or in ranges of the pixels.
_STEP_SIZE = 0.01
#: tanh w at a bound. Nearer to 1 a pixel there hardly moves with w: at 0.999999, as in other codes, black
#: backgrounds stay black for hundreds of steps. What exceeds the bounds is clipped.
_INSIDE = 0.99


@dataclasses.dataclass(frozen=True)
class MarginPenalty(Objective):
    """f = max(z_y − max_{j≠y} z_j + κ, 0), over w with x' = tanh w; without bounds over the pixels."""

    bounds: Bounds | None
    unit_length: float

    def to_variables(self, images: Tensor) -> Tensor:
        if self.bounds is None:
            return images
        centre, radius = self._box
        return tf.atanh((images - centre) / radius * _INSIDE)

    def to_images(self, variables: Tensor) -> tuple[Tensor, Tensor | float]:
        if self.bounds is None:
            return variables, self.unit_length
        centre, radius = self._box
        tanh = tf.tanh(variables)
        images = clip_to(self.bounds, centre + radius / _INSIDE * tanh)
        return images, radius / _INSIDE * (1 - tf.square(tanh))

    def clip_variables(self, variables: Tensor) -> Tensor:
        if self.bounds is None:
            return variables
        # Farther out nothing changes, and Adam would need as many steps to come back.
        return tf.clip_by_value(variables, -math.atanh(_INSIDE), math.atanh(_INSIDE))

    def penalty(self, logits: Tensor, goal: Goal, confidence: Tensor) -> tuple[Tensor, Tensor]:
        is_class = tf.one_hot(goal.classes, logits.shape[1], dtype=tf.float64)
        others = tf.where(is_class > 0, tf.constant(tf.float64.min, tf.float64), logits)
        rival = tf.one_hot(tf.argmax(others, axis=-1), logits.shape[1], dtype=tf.float64)
        contrast = goal.sign * (is_class - rival)
        gap = tf.reduce_sum(contrast * logits, axis=-1) + confidence
        return tf.maximum(gap, 0.0), tf.where(gap[:, None] >= 0, contrast, tf.zeros_like(contrast))

    @property
    def _box(self) -> tuple[float, float]:
        """The centre and half of the side of the bounds."""
        lower, upper = self.bounds or (0.0, 1.0)
        return 0.5 * (lower + upper), 0.5 * (upper - lower)


@dataclasses.dataclass(frozen=True)
class LossPenalty(Objective):
    """f = −log(1 − p_y), or −log p_t for a target t, over the pixels."""

    bounds: Bounds | None
    unit_length: float

    def to_variables(self, images: Tensor) -> Tensor:
        return images

    def to_images(self, variables: Tensor) -> tuple[Tensor, Tensor | float]:
        return variables, self.unit_length

    def clip_variables(self, variables: Tensor) -> Tensor:
        return clip_to(self.bounds, variables)

    def penalty(self, logits: Tensor, goal: Goal, confidence: Tensor) -> tuple[Tensor, Tensor]:
        odds = class_odds(logits, goal.classes)
        if goal.kind == EXACTLY:
            share = tf.exp(odds.log_rest)  # −log p_t has the gradient (1 − p_t)(q − e_t)
            return -odds.log_probability, share[:, None] * odds.loss_gradient
        share = tf.exp(odds.log_probability)  # −log(1 − p_y) has the gradient −p_y (q − e_y)
        return -odds.log_rest, -share[:, None] * odds.loss_gradient


@dataclasses.dataclass(frozen=True)
class CarliniWagner(PenaltyAttack):
    """min ‖x' − x‖² + c · max(z_y − max_{j≠y} z_j + κ, 0), over w with x' = tanh w, by Adam; c by search.

    Args:
        clip: bool, default True. Keep the images within the classifier's bounds, by tanh. Without bounds Adam
            moves the pixels.
        targeted: bool, default False. Seek the class that `targets` names.
        steps: int, default 1000. Of Adam, for each c. Carlini and Wagner take 10,000.
        step_size: float, default None. Of Adam, in w; without bounds in pixels. None is 0.01, in w or in
            ranges of the pixels.
        binary_search_steps: int, default 9. How many c are tried.
        initial_const: float, default None. The first c, in squared pixels; ten times more until it fools,
            then bisection. None takes for each image 2 f / ‖∇f‖² over the pixels that can move, what would do
            if f were linear.
        abort_early: bool, default True. Let images leave whose loss no longer falls, checked ten times in a
            run.
        confidence: float, default 0. κ, by how much the logit of the wrong class must exceed the label's.
            Where κ is not reached, the image with the largest margin is returned; `success` tells of the
            answer, not of κ.

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

    def objective(self, bounds: Bounds | None) -> MarginPenalty:
        return MarginPenalty(self.limits(bounds), pixel_range(bounds))

    def adam_step(self, bounds: Bounds | None) -> float:
        has_box = self.limits(bounds) is not None
        return self.step_size or _STEP_SIZE * (1.0 if has_box else pixel_range(bounds))


@dataclasses.dataclass(frozen=True)
class Opt(PenaltyAttack):
    """min ‖x' − x‖² + c · loss over the pixels, by Adam; c by search.

    The loss is −log(1 − p_y), or −log p_t for a target t. The paper calls the attack so.

    Args:
        clip: bool, default True. Keep the images within the classifier's bounds, by projection after each
            step.
        targeted: bool, default False. Seek the class that `targets` names.
        steps: int, default 1000. Of Adam, for each c.
        step_size: float, default None. Of Adam, in pixels; None is 0.01 of their range.
        binary_search_steps: int, default 9. How many c are tried.
        initial_const: float, default None. The first c, in squared pixels; ten times more until it fools,
            then bisection. None takes for each image 2 loss / ‖∇ loss‖² over the pixels that can move, what
            would do if the loss were linear.
        abort_early: bool, default True. Let images leave whose loss no longer falls, checked ten times in a
            run.

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
    num_bisections: ClassVar[int] = 6

    def objective(self, bounds: Bounds | None) -> LossPenalty:
        return LossPenalty(self.limits(bounds), pixel_range(bounds))

    def adam_step(self, bounds: Bounds | None) -> float:
        return self.step_size or _STEP_SIZE * pixel_range(bounds)

    def lengths(self, batch: Batch) -> dict[str, float]:
        if self.step_size is None:
            return {}
        # Adam moves each pixel by so much.
        return {"step_size": self.step_size * math.sqrt(np.prod(batch.images.shape[1:]))}
