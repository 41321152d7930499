"""Our detectors for ART."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from art.defences.detector.evasion import EvasionDetector

from keras_fisher.checks import check_integer, message
from keras_fisher.detectors import Detector, LabelledImages
from keras_fisher.interop.art.class_indices import class_indices
from keras_fisher.typing import Array


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
        is_adversarial = class_indices(y, len(images), 2).astype(bool)
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


def _check_none(kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(message("kwargs", "be empty", ", ".join(kwargs)))
