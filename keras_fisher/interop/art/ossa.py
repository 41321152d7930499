"""The one-step spectral attack for ART."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from art.attacks.attack import EvasionAttack

from keras_fisher import attacks
from keras_fisher.fisher.solvers import Solver
from keras_fisher.interop.art.art_evasion_attack import ArtEvasionAttack


class OSSA(ArtEvasionAttack):
    """OSSA as an ART `EvasionAttack`; see `kf.attacks.OSSA` for the settings.

    Args:
        estimator: an ART TensorFlowV2Classifier or KerasClassifier around a keras.Model.
        epsilon: l2 norm of the step.
        clip: keep the images within the estimator's clip values.
        eigenvector: which one, counted from 1, the top.
        num_eigenvectors: how many to try from that one on.
        solver: as in `kf.fisher_spectrum`.
        seed: of solvers that start at random.
        batch_size: images at once; None chooses by their size.
        verbose: show a progress bar.

    Raises:
        TypeError, ValueError: a bad setting, or an estimator that `from_art` refuses.

    Source: Zhao et al. 2019, Eq. (5) and Algorithm 1.

    Example:
        >>> from art.estimators.classification import TensorFlowV2Classifier
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> model = kf.models.lenet5(weights="mnist")
        >>> shape = (28, 28, 1)
        >>> estimator = TensorFlowV2Classifier(model, nb_classes=10, input_shape=shape, clip_values=(0, 1))
        >>> kf.interop.art.OSSA(estimator, epsilon=2.0).generate(images[:4], labels[:4]).shape
        (4, 28, 28, 1)
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        *(field.name for field in dataclasses.fields(attacks.OSSA) if field.init),
        "batch_size",
        "verbose",
    ]

    def __init__(
        self,
        estimator: Any,
        epsilon: float | None = None,
        *,
        clip: bool = True,
        eigenvector: int = 1,
        num_eigenvectors: int = 1,
        solver: str | Solver = "auto",
        seed: int = 0,
        batch_size: int | None = None,
        verbose: bool = False,
    ) -> None:
        attack = attacks.OSSA(
            epsilon,
            clip=clip,
            eigenvector=eigenvector,
            num_eigenvectors=num_eigenvectors,
            solver=solver,
            seed=seed,
        )
        super().__init__(estimator, attack, batch_size=batch_size, verbose=verbose)
