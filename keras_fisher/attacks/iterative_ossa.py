"""The iterative spectral attack."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.checks import check_real
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.fisher import PullbackOperator, solvers
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class IterativeOSSA(IterativeAttack):
    """Steps along the top eigenvector of the Fisher information, computed anew at each step, l2.

    The eigenvector is found by Golub–Kahan bidiagonalisation started at the gradient of the loss, and points
    to the side where the loss rises: a small step needs no trial of both ends. An eigenvector to which that
    gradient is orthogonal would not raise the loss, and is not looked for.

    Args:
        epsilon: l2 radius of the ball around each image.
        clip: keep the images within the classifier's bounds.
        steps: the most iterations.
        step_size: l2 norm of one step; None is 2.5 · epsilon / steps. The paper's are 0.05 (MNIST), 0.025
            (CIFAR-10) and 0.0125 (ImageNet).
        early_stop: let an image leave as soon as it is fooled. False goes on to the largest margin.
        tolerance: relative error of λ₁ at which a step is content with the eigenvector.

    Source: Zhao et al. 2019, section 3.4 ("computing the first eigenvector of FIM in each step"), Figure 2b.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.IterativeOSSA(epsilon=2.0, steps=10)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    _: dataclasses.KW_ONLY
    tolerance: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)

    def direction(
        self, classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        operator = PullbackOperator(
            Target(classifier.parameters, classifier.num_classes), images, focus=classes
        )
        pairs = solvers.GolubKahan(tolerance=self.tolerance).solve(operator, 1)
        vectors: Tensor = pairs.eigenvectors
        # Where nothing changes the prediction every direction is an eigenvector, and none is worth a step.
        vector = tf.where(pairs.eigenvalues > 0, vectors[:, 0], tf.zeros_like(vectors[:, 0]))
        directions = tf.reshape(tf.cast(vector, images.dtype), tf.shape(images))
        return directions, operator.outputs
