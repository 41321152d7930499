"""The one-step spectral attack."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.checks import check_integer, message
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.fisher import PullbackOperator, fisher_spectrum
from keras_fisher.fisher.solvers import FixedGolubKahan, Sampled, Solver, choose_solver
from keras_fisher.linalg import Eigensolver
from keras_fisher.typing import Array, Tensor


@dataclasses.dataclass(frozen=True)
class OSSA(OneStepAttack):
    """One step of length epsilon along an eigenvector of the Fisher information, to the worse side.

    The direction needs no label: it is where the whole prediction changes fastest. An eigenvector has no
    sign: the net is asked at both ends, after clipping, at every epsilon anew, since the better sign at
    one epsilon is the worse one at another for some images. The further eigenvectors are the paper's
    "multiple adversarial subspaces": weaker each by itself, stronger when the best of several is taken.

    Args:
        epsilon: l2 norm of the step.
        clip: keep the images within the classifier's bounds.
        eigenvector: which one, counted from 1, the top.
        num_eigenvectors: how many to try from that one on; the best end is taken.
        solver: as in `kf.fisher_spectrum`; "auto" is Golub–Kahan for the top eigenvector.
        seed: of solvers that start at random.

    Source: Zhao et al. 2019, Eq. (5) and Algorithm 1, with ‖η‖₂ = epsilon (the paper writes ‖η‖₂² = ε and
    experiments with ‖η‖₂).

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.OSSA(epsilon=2.0)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> result.success.shape
        (8,)
    """

    _: dataclasses.KW_ONLY
    eigenvector: int = 1
    num_eigenvectors: int = 1
    solver: str | Solver = "auto"
    seed: int = 0

    has_either_sign: ClassVar[bool] = True
    works_on_tensors: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("eigenvector", self.eigenvector, 1)
        check_integer("num_eigenvectors", self.num_eigenvectors, 1)
        # With as many classes as the eigenvectors need: theirs are known when there is a classifier.
        choose_solver(self.solver, self._num_eigenpairs, self._num_eigenpairs + 1)
        check_integer("seed", self.seed, 0, 2**31 - 1)

    @property
    def _num_eigenpairs(self) -> int:
        return self.eigenvector + self.num_eigenvectors - 1

    def check_classifier(self, classifier: Classifier) -> None:
        if self._num_eigenpairs >= classifier.num_classes:
            rule = f"end within the {classifier.num_classes - 1} that {classifier.num_classes} classes have"
            found = f"eigenvectors {self.eigenvector} to {self._num_eigenpairs}"
            raise ValueError(message("eigenvector", rule, found))

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        vectors = fisher_spectrum(
            classifier,
            chunk.images,
            num_eigenpairs=self._num_eigenpairs,
            solver=self.solver,
            batch_size=len(chunk.images),
            seed=self.seed,
        ).eigenvectors
        return np.asarray(vectors)[:, self.eigenvector - 1 :]

    def directions(
        self, classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor | None, seed: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        operator = PullbackOperator(Target(classifier.parameters, classifier.num_classes), images)
        solver = self.training_solver(classifier.num_classes)
        pairs = solver.solve(operator, self._num_eigenpairs, seed=self.seed)
        vectors = tf.unstack(pairs.eigenvectors, num=self._num_eigenpairs, axis=1)[self.eigenvector - 1 :]
        shape = tf.shape(images)
        return [tf.reshape(tf.cast(vector, images.dtype), shape) for vector in vectors], operator.outputs

    def training_solver(self, num_classes: int) -> Eigensolver:
        """Returns the solver of `directions`: "auto" is a fixed number of steps for the top eigenvector.

        Raises:
            ValueError: a sampled one, whose draws are made for a call.
        """
        if self.solver == "auto" and self._num_eigenpairs == 1:
            return FixedGolubKahan()
        solver = choose_solver(self.solver, self._num_eigenpairs, num_classes)
        if isinstance(solver, Sampled):
            raise ValueError(
                message("solver", "be deterministic in training", type(solver).__name__, 'Use "power".')
            )
        return solver
