"""Any of our attacks as an ART evasion attack."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from art.attacks.attack import EvasionAttack

from keras_fisher.attacks import Attack
from keras_fisher.checks import check_flag, check_integer, message
from keras_fisher.interop.art.class_indices import class_indices
from keras_fisher.interop.art.from_art import ART_CLASSIFIERS, from_art
from keras_fisher.interop.run_attack import run_attack
from keras_fisher.typing import Array


class ArtEvasionAttack(EvasionAttack):
    """An ART `EvasionAttack` that is one of ours underneath; see `as_art`, which makes it.

    The settings of the attack are attributes, as in ART: `set_params` and assignment change them. Where the
    attack fails, its best attempt is returned.

    Args:
        estimator: an ART TensorFlowV2Classifier or KerasClassifier around a keras.Model.
        attack: an attack object of kf.attacks.
        batch_size: images at once; None chooses by their size.
        verbose: show a progress bar.

    Raises:
        TypeError: another estimator (ART's EstimatorError), or no attack object of ours.
        ValueError: an estimator that `from_art` refuses.

    Example:
        >>> from art.estimators.classification import TensorFlowV2Classifier
        >>> import keras_fisher as kf
        >>> model = kf.models.lenet5(weights="mnist")
        >>> shape = (28, 28, 1)
        >>> estimator = TensorFlowV2Classifier(model, nb_classes=10, input_shape=shape, clip_values=(0, 1))
        >>> attack = kf.interop.art.ArtEvasionAttack(estimator, kf.attacks.FGM(epsilon=1.0))
        >>> attack.set_params(epsilon=2.0)
        >>> attack.attack
        FGM(clip=True, targeted=False, epsilon=2.0, float32_loss=False)
    """

    _estimator_requirements = (ART_CLASSIFIERS,)

    def __init__(
        self, estimator: Any, attack: Attack, *, batch_size: int | None = None, verbose: bool = False
    ) -> None:
        if not isinstance(attack, Attack):
            found, remedy = type(attack).__name__, ""
            if isinstance(attack, type) and issubclass(attack, Attack):
                found, remedy = f"the class {attack.__name__}", f"Make one: {attack.__name__}()."
            raise TypeError(message("attack", "be an attack of kf.attacks", found, remedy))
        super().__init__(estimator=estimator)
        self._attack_type = type(attack)
        self._settings = [field.name for field in dataclasses.fields(attack) if field.init]
        self.attack_params = [*EvasionAttack.attack_params, *self._settings, "batch_size", "verbose"]
        for name in self._settings:
            setattr(self, name, getattr(attack, name))
        self.batch_size = batch_size
        self.verbose = verbose
        self._check_params()
        from_art(estimator)

    @property
    def attack(self) -> Attack:
        """The attack of ours, with the settings as they are now."""
        return self._attack_type(**{name: getattr(self, name) for name in self._settings})

    def generate(self, x: Array, y: Array | None = None, **kwargs: Any) -> Array:
        """Returns (n, h, w, c) perturbed images.

        Args:
            x: (n, h, w, c), within the estimator's clip values.
            y: (n,) or (n, 1) class indices, or (n, classes) one-hot or soft labels: the targets of a targeted
                attack, else the labels; None for the classes that the estimator predicts.
            **kwargs: none; ART's `mask` is not known here.

        Raises:
            TypeError, ValueError: images or labels that do not fit, or no targets for a targeted attack.
        """
        if kwargs:
            remedy = f"{self._attack_type.__name__} knows x and y."
            raise TypeError(message("kwargs", "be empty", ", ".join(kwargs), remedy))
        classifier = from_art(self.estimator)
        attack = self.attack
        images = np.asarray(x)
        classes = None if y is None else class_indices(y, len(images), classifier.num_classes)
        if attack.targeted and classes is None and not attack.chooses_targets:
            raise ValueError(message("y", "hold the targets of a targeted attack", None))
        labels, targets = (None, classes) if attack.targeted else (classes, None)
        result = run_attack(
            attack, classifier, images, labels, targets, batch_size=self.batch_size, progress=self.verbose
        )
        return result.images

    def _check_params(self) -> None:
        super()._check_params()
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, 1)
        check_flag("verbose", self.verbose)
        # The settings are checked where an attack is made of them.
        _ = self.attack
