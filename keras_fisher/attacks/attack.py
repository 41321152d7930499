"""The interface of every attack, and what all of them share."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, final

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack_result import AttackResult
from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.chunk import Chunk, concatenate, gather, split
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.attacks.judgement import judge
from keras_fisher.checks import check_flag, message
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels, Tensor


@dataclasses.dataclass(frozen=True)
class Attack(abc.ABC):
    """A way to perturb images, measured in l2, so that a classifier errs.

    A subclass writes `run`; checks, bounds, batches, progress and success are done here, once. Attacks come
    in two kinds: a `FixedEpsilonAttack` stays within a given norm, a `MinimumNormAttack` looks for the least.

    Args:
        clip: keep the images within the classifier's bounds. False is the paper's unclipped protocol.
        targeted: only the class that `targets` names is a success, not any wrong one.
    """

    _: dataclasses.KW_ONLY
    clip: bool = True
    targeted: bool = False

    #: Whether the attack can seek a given class.
    can_target: ClassVar[bool] = False
    #: Whether it moves towards a class in any case, and chooses one where the caller gives none.
    chooses_targets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_flag("clip", self.clip)
        check_flag("targeted", self.targeted)
        if self.targeted and not self.can_target:
            remedy = (
                "Attacks with targets: FGM, OTCM, BIM, IterativeOTCM, PGD, DDN, Opt, CarliniWagner, "
                "DetectorAware."
            )
            raise ValueError(message("targeted", f"be False for {type(self).__name__}", True, remedy))

    @final
    def __call__(
        self,
        classifier: Classifier | keras.Model,
        images: Images,
        labels: Labels | None = None,
        *,
        targets: Labels | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> AttackResult:
        """Returns the perturbed images with their success and norms.

        Args:
            classifier: a Classifier or a keras.Model.
            images: (n, h, w, c) within the bounds, or a Dataset of batches: images, or (images, labels).
            labels: (n,) class indices; None takes the Dataset's, or the model's own predictions.
            targets: (n,) class indices, none equal to its label: what a targeted attack seeks.
            batch_size: images at once; None chooses by their size.
            progress: show a bar.

        Raises:
            TypeError, ValueError: images, labels or targets that do not fit, before any work is done.
        """
        check_flag("progress", progress)
        classifier = as_classifier(classifier)
        everything = self.gather(classifier, images, labels, targets, batch_size)
        chunks = list(split(classifier, everything, batch_size))
        attempts = [
            self.run(classifier, chunk)
            for chunk in track(chunks, type(self).__name__, len(chunks), progress, listen=True)
        ]
        return self.result(everything, concatenate(attempts))

    @abc.abstractmethod
    def run(self, classifier: Classifier, chunk: Chunk) -> Attempt:
        """Returns the perturbed images of one chunk, with what the classifier makes of them."""

    def result(self, chunk: Chunk, attempt: Attempt) -> AttackResult:
        """Returns what a call returns: the attempt at all images, judged by the classifier's answers."""
        return judge(chunk, attempt)

    @final
    def gather(
        self,
        classifier: Classifier,
        images: Images,
        labels: Labels | None,
        targets: Labels | None,
        batch_size: int | None,
    ) -> Chunk:
        """Returns everything that the attack works on, checked; the work has not begun.

        Raises:
            TypeError, ValueError: as `__call__` does.
        """
        self.check_classifier(classifier)
        name = type(self).__name__
        if targets is not None and not (self.targeted or self.chooses_targets):
            remedy = f"{name}(targeted=True) seeks them." if self.can_target else f"{name} seeks no class."
            raise ValueError(message("targets", "be None for an untargeted attack", "an array", remedy))
        if targets is None and self.targeted and not self.chooses_targets:
            remedy = "Random wrong ones: kf.attacks.random_targets(labels, classifier.num_classes)."
            raise ValueError(message("targets", "be given for a targeted attack", None, remedy))
        chunk = gather(classifier, images, labels, targets, batch_size)
        if targets is None and self.chooses_targets:
            chunk = dataclasses.replace(chunk, targets=self.choose_targets(classifier, chunk, batch_size))
        return dataclasses.replace(chunk, only_targets=self.targeted)

    def check_classifier(self, classifier: Classifier) -> None:
        """Refuses a classifier that the attack cannot work on, by a ValueError; most work on any."""
        return

    def choose_targets(self, classifier: Classifier, chunk: Chunk, batch_size: int | None) -> Array:
        """Returns (n,) targets where the caller gave none. Written where `chooses_targets`."""
        raise NotImplementedError

    def restrict(self, classifier: Classifier, images: Array) -> Array:
        """Returns the images within the classifier's bounds, if the attack clips."""
        if self.clip and classifier.bounds is not None:
            return np.clip(images, *np.asarray(classifier.bounds, images.dtype))
        return images

    def restrict_tensor(self, classifier: Classifier | GraphTarget, images: Tensor) -> Tensor:
        """Does what `restrict` does, in a graph."""
        if self.clip and classifier.bounds is not None:
            lower, upper = np.asarray(classifier.bounds, images.dtype.as_numpy_dtype)
            return tf.clip_by_value(images, lower, upper)
        return images

    def free_pixels(self, classifier: Classifier, images: Tensor, directions: Tensor) -> Tensor:
        """Returns the directions without the pixels that stand at a bound and would leave it, in a graph."""
        if not self.clip or classifier.bounds is None:
            return directions
        lower, upper = np.asarray(classifier.bounds, images.dtype.as_numpy_dtype)
        is_held = ((images <= lower) & (directions < 0)) | ((images >= upper) & (directions > 0))
        return tf.where(is_held, tf.zeros_like(directions), directions)
