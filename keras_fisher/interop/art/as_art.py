"""Our attacks and our detectors, as ART has them."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from art.attacks.attack import EvasionAttack
from art.defences.detector.evasion import EvasionDetector

from keras_fisher import attacks
from keras_fisher.attacks import Attack
from keras_fisher.checks import check_flag, check_integer, check_keywords, message, suggests_keywords
from keras_fisher.classifiers.image_check import check_labels
from keras_fisher.detectors import Detector, LabelledImages
from keras_fisher.interop.art.from_art import ART_CLASSIFIERS, from_art
from keras_fisher.interop.foreign import check_instance, labels_and_targets
from keras_fisher.typing import Array


@suggests_keywords
def as_art(
    attack: Attack, estimator: Any, *, batch_size: int | None = None, verbose: bool = False
) -> ArtEvasionAttack:
    """Returns one of our attacks as an ART `EvasionAttack`: `generate(x, y)`.

    Args:
        attack: an attack object of kf.attacks.
        estimator: an ART TensorFlowV2Classifier or KerasClassifier around a keras.Model. Its clip values are
            the bounds, and its standardisation counts.
        batch_size: images at once; None chooses by their size.
        verbose: show a progress bar.

    Raises:
        TypeError: another estimator (ART's EstimatorError), or no attack object of ours.
        ValueError: an estimator that `from_art` refuses.

    Example:
        >>> from art.estimators.classification import TensorFlowV2Classifier
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> model = kf.models.lenet5(weights="mnist")
        >>> shape = (28, 28, 1)
        >>> estimator = TensorFlowV2Classifier(model, nb_classes=10, input_shape=shape, clip_values=(0, 1))
        >>> attack = kf.interop.art.as_art(kf.attacks.DDN(steps=20), estimator)
        >>> attack.generate(images[:4], labels[:4]).shape
        (4, 28, 28, 1)
        >>> attack.set_params(steps=10)
        >>> attack.attack.steps
        10
    """
    return ArtEvasionAttack(estimator, attack, batch_size=batch_size, verbose=verbose)


class ArtEvasionAttack(EvasionAttack):
    """An ART `EvasionAttack` that is one of ours underneath; `as_art` makes it, and says what it takes.

    The settings of the attack are attributes, as in ART: `set_params` and assignment change them. Where the
    attack fails, its best attempt is returned.
    """

    _estimator_requirements = (ART_CLASSIFIERS,)

    @suggests_keywords
    def __init__(
        self, estimator: Any, attack: Attack, *, batch_size: int | None = None, verbose: bool = False
    ) -> None:
        check_instance(attack, Attack, "be an attack of kf.attacks")
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
        _check_none(kwargs, f"{self._attack_type.__name__} knows x and y.")
        classifier, attack, images = from_art(self.estimator), self.attack, np.asarray(x)
        classes = None if y is None else _class_indices(y, len(images), classifier.num_classes)
        if attack.targeted and classes is None and not attack.chooses_targets:
            raise ValueError(message("y", "hold the targets of a targeted attack", None))
        labels, targets = labels_and_targets(attack, classes, classifier.num_classes)
        options = {"batch_size": self.batch_size, "progress": self.verbose}
        return attack(classifier, images, labels, targets=targets, **options).images

    def _check_params(self) -> None:
        super()._check_params()
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, 1)
        check_flag("verbose", self.verbose)
        # The settings are checked where an attack is made of them.
        _ = self.attack


#: What `OSSA` takes by name.
_OSSA_SIGNATURE = inspect.Signature(
    [
        *inspect.signature(attacks.OSSA).parameters.values(),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
            for name in ("batch_size", "estimator", "verbose")
        ),
    ]
)


class OSSA(ArtEvasionAttack):
    """OSSA as an ART `EvasionAttack`.

    Args:
        estimator: an ART TensorFlowV2Classifier or KerasClassifier around a keras.Model.
        *args: settings of `kf.attacks.OSSA`, and
        batch_size: images at once; None chooses by their size.
        verbose: show a progress bar.
        **settings: further settings of `kf.attacks.OSSA`.

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
        *args: Any,
        batch_size: int | None = None,
        verbose: bool = False,
        **settings: Any,
    ) -> None:
        check_keywords(type(self).__name__, settings, _OSSA_SIGNATURE)
        attack = attacks.OSSA(*args, **settings)
        super().__init__(estimator, attack, batch_size=batch_size, verbose=verbose)


class FisherEvasionDetector(EvasionDetector):
    """A detector of ours as an ART `EvasionDetector`.

    Args:
        detector: a kf.FisherDetector or another Detector, fitted or not. Of an ART classifier:
            `kf.FisherDetector(kf.interop.art.from_art(estimator))`.

    Raises:
        TypeError: no Detector.

    Example:
        >>> import numpy as np
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> model = kf.models.lenet5(weights="mnist")
        >>> attacked = kf.attacks.OSSA(epsilon=4.0)(model, images[:60], labels[:60])
        >>> clean, adversarial = images[:60][attacked.success], attacked.images[attacked.success]
        >>> detector = kf.interop.art.FisherEvasionDetector(kf.FisherDetector(model))
        >>> is_adversarial = np.repeat([0, 1], [len(clean), len(adversarial)])
        >>> detector.fit(np.concatenate([clean, adversarial]), is_adversarial)
        >>> report, is_adversarial = detector.detect(images[60:70])
        >>> report["predictions"].shape, is_adversarial.dtype
        ((10, 2), dtype('bool'))
    """

    defence_params: ClassVar[list[str]] = ["detector"]

    @suggests_keywords
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self._check_params()

    def fit(
        self, x: Array, y: Array, batch_size: int | None = None, nb_epochs: int = 1, **kwargs: Any
    ) -> None:
        """Fits the detector to images of both kinds.

        ART knows no noisy negatives: put noisy images (`kf.detectors.matched_noise`) among the clean ones,
        or fit by `detector.detector.fit(clean, adversarial)`, which makes them.

        Args:
            x: (n, h, w, c), clean and adversarial images.
            y: (n,) or (n, 1), 1 where adversarial and 0 where clean, or (n, 2) one-hot, that order.
            batch_size: images at once; None as the detector is set.
            nb_epochs: not used, whatever ART code passes: the detector's head is fitted in one go.
            **kwargs: none.

        Raises:
            TypeError, ValueError: images or labels that do not fit, only one kind, or further arguments.
        """
        del nb_epochs
        _check_none(kwargs)
        images = np.asarray(x)
        is_adversarial = _class_indices(y, len(images), 2).astype(bool)
        with self._at_once(batch_size):
            self.detector.fit_labelled(LabelledImages(images, is_adversarial, None))

    def detect(
        self, x: Array, batch_size: int | None = None, **kwargs: Any
    ) -> tuple[dict[str, Array], Array]:
        """Returns ({"predictions": probabilities}, is_adversarial).

        The probabilities, (n, 2) float64, are those of clean and of adversarial; (n,) bool is True where the
        second reaches the detector's threshold.

        Args:
            x: (n, h, w, c).
            batch_size: images at once; None as the detector is set.
            **kwargs: none.

        Raises:
            NotFittedError: before the detector is fitted.
            TypeError, ValueError: images that do not fit, or further arguments.
        """
        _check_none(kwargs)
        with self._at_once(batch_size):
            predictions = self.detector.predict_proba(np.asarray(x))
        return {"predictions": predictions}, predictions[:, 1] >= self.detector.threshold_

    @contextlib.contextmanager
    def _at_once(self, batch_size: int | None) -> Iterator[None]:
        own = self.detector.batch_size
        if batch_size is not None:
            self.detector.batch_size = check_integer("batch_size", batch_size, 1)
        try:
            yield
        finally:
            self.detector.batch_size = own

    def _check_params(self) -> None:
        if not isinstance(self.detector, Detector):
            remedy = "kf.FisherDetector(classifier) is one."
            raise TypeError(message("detector", "be a Detector", type(self.detector).__name__, remedy))


def _class_indices(labels: Any, num_images: int, num_classes: int) -> Array:
    """Returns (n,) int64 class indices of labels as ART users pass them.

    Args:
        labels: (n,) or (n, 1) indices, as integers or whole floats; or (n, classes) scores, such as one-hot
            rows, of which the greatest counts.
        num_images: n.
        num_classes: at least 2.

    Raises:
        TypeError, ValueError: neither.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == num_classes:
        array = array.argmax(axis=-1)
    elif array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind == "f" and (array == np.floor(array)).all():
        array = array.astype(np.int64)
    return check_labels(array, num_images, num_classes, "y")


def _check_none(kwargs: dict[str, Any], remedy: str = "") -> None:
    if kwargs:
        raise TypeError(message("kwargs", "be empty", ", ".join(kwargs), remedy))
