"""The spectral attacks, of one step and of many."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from keras_fisher.attacks.attack import fixed
from keras_fisher.attacks.directions import Direction
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.checks import check_integer, check_real, message
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.fisher import PullbackOperator
from keras_fisher.fisher.solvers import (
    TRAINING_SOLVER,
    GolubKahan,
    Sampled,
    Solver,
    Staged,
    choose_solver,
)
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class EigenvectorDirections:
    """The directions ±v of eigenvectors of the Fisher information: an eigenvector has no sign.

    Args:
        eigenvector: int, default 1. The first one, counted from 1, the top.
        num_eigenvectors: int, default 1. How many from that one on.
        solver: str or object of `kf.solvers`, default "auto".
    """

    eigenvector: int = 1
    num_eigenvectors: int = 1
    solver: str | Solver = "auto"

    def __call__(
        self, target: Target, images: Tensor, labels: Tensor | None, seed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        operator = PullbackOperator(target, images)
        solver = self.solver_for(target.num_classes)
        # One start for the whole batch: an answer does not depend on the company that an image keeps.
        pairs = solver.solve(operator, self.num_eigenpairs, seed=tf.reduce_max(seed[:, 0]))
        vectors: Tensor = tf.cast(pairs.eigenvectors, images.dtype)[:, self.eigenvector - 1 :]
        vectors = tf.stack([vectors, -vectors], axis=2)
        shape = [-1, 2 * self.num_eigenvectors, *images.shape[1:]]
        return tf.reshape(vectors, shape), operator.outputs, pairs.converged

    def stages(self, num_classes: int) -> list[EigenvectorDirections]:
        """Returns what a call tries in turn, the next one for the images on which one has not converged."""
        solver = self.solver_for(num_classes)
        if not isinstance(solver, Staged):
            return [self]
        return [dataclasses.replace(self, solver=part) for part in (solver.first, solver.second)]

    @property
    def num_eigenpairs(self) -> int:
        """How many are asked of the solver."""
        return self.eigenvector + self.num_eigenvectors - 1

    @property
    def in_training(self) -> Direction:
        """The same with one sign and sizes that are known before a run, for "auto" and the top one."""
        is_auto = self.solver == "auto" and self.num_eigenpairs == 1
        return UphillEigenvectorDirection(TRAINING_SOLVER) if is_auto else self

    def has_static_shapes(self, num_classes: int) -> bool:
        """Returns whether all sizes but that of the batch are known before a run."""
        return self.solver_for(num_classes).has_static_shapes

    def solver_for(self, num_classes: int) -> Solver:
        """Returns the solver object."""
        return choose_solver(self.solver, self.num_eigenpairs, num_classes)


@dataclasses.dataclass(frozen=True)
class OSSA(OneStepAttack):
    """One step of length epsilon along an eigenvector of the Fisher information, to the worse side.

    The direction needs no label: it is where the whole prediction changes fastest. An eigenvector has no
    sign: the net is asked at both ends, after clipping, at every epsilon anew, since the better sign at
    one epsilon is the worse one at another for some images. The further eigenvectors are the paper's
    "multiple adversarial subspaces": weaker each by itself, stronger when the best of several is taken.

    Args:
        epsilon: float, default None. l2 norm of the step; None is the range of the bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        eigenvector: int, default 1. Which one, counted from 1, the top.
        num_eigenvectors: int, default 1. How many to try from that one on; the best end is taken.
        solver: str or object of `kf.solvers`, default "auto", as in `kf.fisher_spectrum`. In training "auto"
            means for the top eigenvector: three products of `kf.solvers.FixedGolubKahan` from the gradient of
            the loss, and the side where the loss rises, without a trial of both ends.
        seed: int, default 0. Of solvers that start at random.

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
    direction: Direction = fixed(EigenvectorDirections())
    eigenvector: int = 1
    num_eigenvectors: int = 1
    solver: str | Solver = "auto"

    can_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_integer("eigenvector", self.eigenvector, 1)
        check_integer("num_eigenvectors", self.num_eigenvectors, 1)
        directions = EigenvectorDirections(self.eigenvector, self.num_eigenvectors, self.solver)
        object.__setattr__(self, "direction", directions)
        super().__post_init__()
        self._check_solver()

    def _check_solver(self) -> None:
        """Refuses a solver that does not find so many eigenvectors, of however many classes."""
        count = self._directions.num_eigenpairs
        solver = choose_solver(self.solver, count, count + 1)
        inner = solver.solver if isinstance(solver, Sampled) else solver
        most = inner.max_num_eigenpairs(count)
        if count > most:
            name = "eigenvector" if self.eigenvector > most else "num_eigenvectors"
            rule = f"end within the {most} that {type(inner).__name__} finds"
            found = f"eigenvectors {self.eigenvector} to {count}"
            raise ValueError(message(name, rule, found, 'Leave it to solver="auto".'))

    @property
    def _directions(self) -> EigenvectorDirections:
        return EigenvectorDirections(self.eigenvector, self.num_eigenvectors, self.solver)

    def check_classifier(self, classifier: Classifier) -> None:
        count = self._directions.num_eigenpairs
        if count >= classifier.num_classes:
            rule = f"end within the {classifier.num_classes - 1} that {classifier.num_classes} classes have"
            found = f"eigenvectors {self.eigenvector} to {count}"
            raise ValueError(message("eigenvector", rule, found))


@dataclasses.dataclass(frozen=True)
class UphillEigenvectorDirection:
    """The top eigenvector of the Fisher information, to the side where the loss rises.

    The solver starts at the gradient of the loss, and its eigenvectors point to the side of its start: the
    side costs nothing. For a long step the other side is the worse one for some images in a hundred.

    Args:
        solver: `GolubKahan` or `FixedGolubKahan`.
    """

    solver: Solver

    def has_static_shapes(self, num_classes: int) -> bool:
        """Returns whether all sizes but that of the batch are known before a run."""
        return self.solver.has_static_shapes

    def __call__(
        self, target: Target, images: Tensor, labels: Tensor | None, seed: Tensor
    ) -> tuple[Tensor, Tensor]:
        operator = PullbackOperator(target, images)
        classes = tf.argmax(operator.outputs, axis=-1) if labels is None else tf.cast(labels, tf.int64)
        operator = operator.with_focus(classes)
        pairs = self.solver.solve(operator, 1)
        vectors: Tensor = pairs.eigenvectors
        # Where nothing changes the prediction every direction is an eigenvector, and none is worth a step.
        vector = tf.where(pairs.eigenvalues > 0, vectors[:, 0], tf.zeros_like(vectors[:, 0]))
        return tf.reshape(tf.cast(vector, images.dtype), tf.shape(images)), operator.outputs


@dataclasses.dataclass(frozen=True)
class IterativeOSSA(IterativeAttack):
    """Steps along the top eigenvector of the Fisher information, computed anew at each step, l2.

    The eigenvector is found by Golub–Kahan bidiagonalisation started at the gradient of the loss, and points
    to the side where the loss rises: a small step needs no trial of both ends. An eigenvector to which that
    gradient is orthogonal would not raise the loss, and is not looked for.

    Args:
        epsilon: float, default None. l2 radius of the ball around each image; None is the range of the
            bounds.
        clip: bool, default True. Keep the images within the classifier's bounds.
        steps: int, default 20. The most iterations.
        step_size: float, default None. l2 norm of one step; None is 2.5 · epsilon / steps. The paper's are
            0.05 (MNIST), 0.025 (CIFAR-10) and 0.0125 (ImageNet).
        early_stop: bool, default True. Let an image leave as soon as it is fooled. False goes on to the
            largest margin.
        tolerance: float, default 0.01. Relative error of λ₁ at which a step is content with the eigenvector.

    Source: Zhao et al. 2019, section 3.4 ("computing the first eigenvector of FIM in each step"), Figure 2b.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> attack = kf.attacks.IterativeOSSA(epsilon=2.0, steps=10)
        >>> attack(kf.models.lenet5(weights="mnist"), images[:8], labels[:8]).success.shape
        (8,)
    """

    _: dataclasses.KW_ONLY
    direction: Direction = fixed(UphillEigenvectorDirection(GolubKahan(1e-2)))
    seed: int = fixed(0)
    tolerance: float = 1e-2

    can_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_real("tolerance", self.tolerance, 0.0, 1.0, exclusive_minimum=True)
        direction = UphillEigenvectorDirection(GolubKahan(float(self.tolerance)))
        object.__setattr__(self, "direction", direction)
        super().__post_init__()
