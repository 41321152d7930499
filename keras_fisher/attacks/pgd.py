"""Gradient ascent within a ball, from the image or from random points."""

from __future__ import annotations

import dataclasses

from keras_fisher.attacks.attack import fixed
from keras_fisher.attacks.directions import Direction, loss_ascent_direction
from keras_fisher.attacks.iterative_attack import IterativeAttack


@dataclasses.dataclass(frozen=True)
class BIM(IterativeAttack):
    """The basic iterative method: steps along the gradient of −log p(y|x), from the image itself, l2.

    Args:
        epsilon: float, default None. l2 radius of the ball around each image; None is the range of the
            bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Down the loss of the class that `targets` names.
        steps: int, default 20. The most iterations.
        step_size: float, default None. l2 norm of one step; None is 2.5 · epsilon / steps.
        early_stop: bool, default True. Let an image leave as soon as it is fooled. False goes on to the
            largest margin.

    Source: Kurakin, Goodfellow and Bengio 2016, "Adversarial examples in the physical world", section 2.2,
    with the l2 norm. Directions are exact where softmax saturates, where ordinary cross-entropy has none.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.BIM(2.0, steps=10)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> bool((result.norms <= 2.0001).all()), bool((result.num_iterations <= 10).all())
        (True, True)
    """

    direction: Direction = fixed(loss_ascent_direction)
    seed: int = fixed(0)


@dataclasses.dataclass(frozen=True)
class PGD(IterativeAttack):
    """Projected gradient descent: BIM from random points of the ball, several times if need be.

    Args:
        epsilon: float, default None. l2 radius of the ball around each image; None is the range of the
            bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Down the loss of the class that `targets` names.
        steps: int, default 20. The most iterations from each start.
        step_size: float, default None. l2 norm of one step; None is 2.5 · epsilon / steps.
        early_stop: bool, default True. Let an image leave as soon as it is fooled. False goes on to the
            largest margin.
        random_start: bool, default True. Start at a uniformly random point of the ball; False starts at the
            image.
        restarts: int, default 1. The number of starts. Images that are fooled are not started again if
            `early_stop`.
        seed: int, default 0. With the position of an image it determines its starts, whatever the batch size.

    Source: Madry, Makelov, Schmidt, Tsipras and Vladu 2018, "Towards deep learning models resistant to
    adversarial attacks", Eq. (2.1) and section 5.1, with the l2 norm.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.PGD(epsilon=2.0, steps=10, restarts=2)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    _: dataclasses.KW_ONLY
    direction: Direction = fixed(loss_ascent_direction)
    random_start: bool = True
    restarts: int = 1
