"""Any of our attacks for ART."""

from __future__ import annotations

from typing import Any

from keras_fisher.attacks import Attack
from keras_fisher.interop.art.art_evasion_attack import ArtEvasionAttack


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
    """
    return ArtEvasionAttack(estimator, attack, batch_size=batch_size, verbose=verbose)
