"""What is measured at the end of an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from keras_fisher.attacks import FixedEpsilonAttack
from keras_fisher.attacks.attack import warn_of_short_lengths
from keras_fisher.attacks.batch import gather
from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier
from keras_fisher.fisher import fisher_spectrum
from keras_fisher.training.batches import class_indices

#: Up to here all class gradients at once are affordable, and the answer has no blind spot.
_MAX_EXACT_CLASSES = 64


class RobustValidation:
    """Robust accuracy and the largest Fisher eigenvalues of labelled images.

    Args:
        classifier: the net in training; its weights are read anew each time.
        data: (images, labels), or a Dataset of batches of these, as `model.fit` takes them: labels as class
            indices or rows of probabilities; weights of samples are not read.
        attack: has an epsilon.

    Raises:
        TypeError, ValueError: images or labels that do not fit the classifier.
    """

    def __init__(self, classifier: Classifier, data: Any, attack: FixedEpsilonAttack) -> None:
        images, labels = _arrays(data)
        self.attack = attack
        self._classifier = classifier
        images = classifier.check(images, "validation_data")
        indices: Any = class_indices(labels, classifier.num_classes)
        batch = gather(classifier, images, indices.numpy())
        self._images, self._labels = batch.images, batch.labels
        warn_of_short_lengths(attack.lengths(batch), classifier)

    def logs(self) -> dict[str, float]:
        """Returns the numbers of the present weights, under the names that a Keras log has for them."""
        largest = self._largest_eigenvalues()
        return {
            "val_robust_accuracy": self._robust_accuracy(),
            "val_fisher_eigenvalue_mean": float(np.mean(largest)),
            "val_fisher_eigenvalue_median": float(np.median(largest)),
        }

    def _robust_accuracy(self) -> float:
        # Not by a call: it would warn of labels that a net at the beginning of its training misses.
        net, attack = self._classifier, self.attack
        batch = attack.gather(net, self._images, self._labels, None, None)
        num_robust = 0
        for part in batch.split(net.default_batch_size()):
            predictions = attack.run(net, part).predictions
            num_robust += np.count_nonzero(~np.asarray(part.goal.is_reached(predictions)))
        return num_robust / len(batch)

    def _largest_eigenvalues(self) -> Any:
        solver = "exact" if self._classifier.num_classes <= _MAX_EXACT_CLASSES else "auto"
        spectrum = fisher_spectrum(self._classifier, self._images, 1, solver=solver, eigenvectors=False)
        return spectrum.eigenvalues[:, 0]


def _arrays(data: Any) -> tuple[Any, Any]:
    """Returns images and labels, each in one array."""
    if isinstance(data, tf.data.Dataset):
        elements: list[Any] = list(data.as_numpy_iterator())  # pyright: ignore[reportAttributeAccessIssue]
        if elements and isinstance(elements[0], tuple) and len(elements[0]) in (2, 3):
            images, labels, *_ = (np.concatenate(part) for part in zip(*elements, strict=True))
            return images, labels
    elif isinstance(data, (tuple, list)) and len(data) in (2, 3):
        return data[0], data[1]
    rule = "be (images, labels), or a Dataset of batches of these"
    raise TypeError(message("validation_data", rule, type(data).__name__))
