"""The one-step spectral attack."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.checks import check_integer
from keras_fisher.classifiers import Classifier
from keras_fisher.fisher import fisher_spectrum
from keras_fisher.fisher.solvers import Solver, choose_solver
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class OSSA(OneStepAttack):
    """One step of length epsilon along the top eigenvector of the Fisher information, to the worse side.

    The direction needs no label: it is where the whole prediction changes fastest. An eigenvector has no
    sign: the loss is evaluated at both ends, after clipping, at every epsilon anew, since the better sign at
    one epsilon is the worse one at another for some images.

    Args:
        epsilon: l2 norm of the step.
        clip: keep the images within the classifier's bounds.
        solver: as in `kf.fisher_spectrum`; "auto" is Golub–Kahan.
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
    solver: str | Solver = "auto"
    seed: int = 0

    has_either_sign: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        choose_solver(self.solver, 1, 2)
        check_integer("seed", self.seed, 0, 2**31 - 1)

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        vectors = fisher_spectrum(
            classifier,
            chunk.images,
            num_eigenpairs=1,
            solver=self.solver,
            batch_size=len(chunk.images),
            seed=self.seed,
        ).eigenvectors
        return np.asarray(vectors)[:, 0]
