"""What an epoch of adversarial training has achieved."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_fisher.attacks import FixedEpsilonAttack
from keras_fisher.attacks.chunk import gather
from keras_fisher.classifiers import Classifier
from keras_fisher.fisher import fisher_spectrum

#: Up to here all class gradients at once are affordable, and the answer has no blind spot.
_MAX_EXACT_CLASSES = 64


class RobustValidation:
    """Robust accuracy and the largest Fisher eigenvalues of labelled images.

    Args:
        classifier: the net in training; its weights are read anew each time.
        data: (images, labels), or a Dataset of batches of these.
        attack: has an epsilon.

    Raises:
        TypeError, ValueError: images or labels that do not fit the classifier.
    """

    def __init__(self, classifier: Classifier, data: Any, attack: FixedEpsilonAttack) -> None:
        images, labels = data if isinstance(data, (tuple, list)) and len(data) == 2 else (data, None)
        self.attack = attack
        self._classifier = classifier
        chunk = gather(classifier, images, labels)
        self._images, self._labels = chunk.images, chunk.labels

    def logs(self) -> dict[str, float]:
        """Returns the numbers of the present weights, under the names that a Keras log has for them."""
        result = self.attack(self._classifier, self._images, self._labels)
        solver = "exact" if self._classifier.num_classes <= _MAX_EXACT_CLASSES else "auto"
        spectrum = fisher_spectrum(self._classifier, self._images, 1, solver=solver, eigenvectors=False)
        largest = spectrum.eigenvalues[:, 0]
        return {
            "val_robust_accuracy": float(1.0 - np.mean(result.success)),
            "val_fisher_eigenvalue_mean": float(np.mean(largest)),
            "val_fisher_eigenvalue_median": float(np.median(largest)),
        }
