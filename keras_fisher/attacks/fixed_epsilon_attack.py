"""Attacks within a given norm."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, final

import numpy as np

from keras_fisher.attacks.attack import Attack
from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.checks import check_real, message
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array, Tensor


@dataclasses.dataclass(frozen=True)
class FixedEpsilonAttack(Attack):
    """An attack whose perturbation has an l2 norm of at most epsilon.

    A subclass writes `prepare`, what does not depend on epsilon, and `perturb`, what does, so that a search
    over epsilon pays for the first once.

    Args:
        epsilon: l2 norm of the perturbation, in units of [0, 1] pixels, before clipping.
        clip: keep the images within the classifier's bounds.
        targeted: seek the class that `targets` names.
    """

    epsilon: float = 1.0

    #: Whether `perturb_tensor` is there: what training needs.
    works_on_tensors: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        # Beyond, the pixels of a float32 image overflow.
        check_real("epsilon", self.epsilon, 0.0, 1e18, exclusive_minimum=True)

    @final
    def run(self, classifier: Classifier, chunk: Chunk) -> Attempt:
        prepared = self.prepare(classifier, chunk)
        return self.perturb(classifier, chunk, prepared, np.full(len(chunk.images), float(self.epsilon)))

    @abc.abstractmethod
    def prepare(self, classifier: Classifier, chunk: Chunk) -> Any:
        """Returns what `perturb` needs and epsilon does not change: an array, one row an image, or None."""

    @abc.abstractmethod
    def perturb(self, classifier: Classifier, chunk: Chunk, prepared: Any, epsilon: Array) -> Attempt:
        """Returns perturbed images.

        Args:
            classifier: the target.
            chunk: n images with labels, and with targets if the attack moves towards some.
            prepared: what `prepare` gave for these images.
            epsilon: (n,) float64, the budget of each image (0 is no perturbation).
        """

    def perturb_tensor(
        self,
        classifier: Classifier | GraphTarget,
        images: Tensor,
        classes: Tensor | None,
        epsilon: Tensor,
        seed: Tensor,
    ) -> Tensor:
        """Returns the perturbed images (n, h, w, c), unchecked and in a graph: for training.

        The same attack as a call makes, less what training has no use for: no image stops early, restarts are
        one start, and every size is known before the run, so that XLA compiles it.

        Args:
            classifier: the target.
            images: (n, h, w, c) within the bounds.
            classes: (n,) integer labels, to be made unlikely; None is the classifier's own answers.
            epsilon: (n,) float64, the budget of each image; the setting is not read.
            seed: (2,) integer, of random starts.

        Raises:
            NotImplementedError: not `works_on_tensors`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not work on tensors.")


def check_fixed_epsilon(attack: Any) -> FixedEpsilonAttack:
    """Returns the attack, one with an epsilon.

    Raises:
        TypeError: it is none.
    """
    if isinstance(attack, FixedEpsilonAttack):
        return attack
    found, remedy = type(attack).__name__, ""
    if isinstance(attack, type) and issubclass(attack, Attack):
        found, remedy = f"the class {attack.__name__}", f"Make one: {attack.__name__}()."
    elif isinstance(attack, Attack):
        remedy = "It finds the least norm by itself: call it."
    raise TypeError(message("attack", "be an attack of kf.attacks with an epsilon", found, remedy))
