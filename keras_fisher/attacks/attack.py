"""The interface of every attack, and what all of them share."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, final

import keras
import numpy as np

from keras_fisher.attacks.attack_result import AttackResult
from keras_fisher.attacks.chunk import Chunk, gather, split
from keras_fisher.attacks.judgement import judge
from keras_fisher.checks import check_flag, check_real
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels


@dataclasses.dataclass(frozen=True)
class Attack(abc.ABC):
    """A way to perturb images within an l2 ball so that a classifier errs.

    A subclass writes `prepare`, what does not depend on epsilon, and `perturb`, what does. Checks, bounds,
    batches, progress and success are done here, once.

    Args:
        epsilon: l2 norm of the perturbation, in units of [0, 1] pixels, before clipping.
        clip: keep the images within the classifier's bounds. False is the paper's unclipped protocol.
    """

    epsilon: float = 1.0
    _: dataclasses.KW_ONLY
    clip: bool = True

    #: Whether the answer depends on the labels (OSSA and noise have a direction without).
    uses_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_real("epsilon", self.epsilon, 0.0, exclusive_minimum=True)
        check_flag("clip", self.clip)

    @final
    def __call__(
        self,
        classifier: Classifier | keras.Model,
        images: Images,
        labels: Labels | None = None,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> AttackResult:
        """Returns the perturbed images with their success and norms.

        Args:
            classifier: a Classifier or a keras.Model.
            images: (n, h, w, c) within the bounds, or a Dataset of batches: images, or (images, labels).
            labels: (n,) class indices; None takes the Dataset's, or the model's own predictions.
            batch_size: images at once; None chooses by their size.
            progress: show a bar.

        Raises:
            TypeError, ValueError: images or labels that do not fit, before any work is done.
        """
        classifier = as_classifier(classifier)
        everything = gather(classifier, images, labels, batch_size)
        chunks = list(split(classifier, everything, batch_size))
        results = []
        for chunk in track(chunks, type(self).__name__, len(chunks), progress):
            prepared = self.prepare(classifier, chunk)
            budget = np.full(len(chunk.images), self.epsilon)
            results.append(self.perturb(classifier, chunk, prepared, budget))
        return judge(classifier, everything, np.concatenate(results), batch_size)

    @abc.abstractmethod
    def prepare(self, classifier: Classifier, chunk: Chunk) -> Any:
        """Returns what `perturb` needs and epsilon does not change: an array, one row an image, or None."""

    @abc.abstractmethod
    def perturb(self, classifier: Classifier, chunk: Chunk, prepared: Any, epsilon: Array) -> Array:
        """Returns perturbed images.

        Args:
            classifier: the target.
            chunk: n images with labels.
            prepared: what `prepare` gave for these images.
            epsilon: (n,) float64, the budget of each image (0 is no perturbation).
        """

    def restrict(self, classifier: Classifier, images: Array) -> Array:
        """Returns the images within the classifier's bounds, if the attack clips."""
        if self.clip and classifier.bounds is not None:
            return np.clip(images, *np.asarray(classifier.bounds, images.dtype))
        return images
