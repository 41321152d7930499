"""The interface of every attack, of both kinds, and what all of them share."""

from __future__ import annotations

import abc
import dataclasses
import warnings
from typing import Any, ClassVar, final

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attempt import AttackResult, Attempt, answers, concatenate, put, to_arrays
from keras_fisher.attacks.batch import Batch, gather
from keras_fisher.attacks.directions import has_static_shapes
from keras_fisher.attacks.image_ops import per_image, pixel_range, where_image
from keras_fisher.checks import Settings, check_flag, check_real, message, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels, Tensor

#: Lengths below this share of the range of pixels are taken for a slip.
_LEAST_SHARE = 0.01
#: From so many images on, labels that are mostly missed are taken for a slip.
_LEAST_COUNT = 10


@dataclasses.dataclass(frozen=True)
class Attack(Settings, abc.ABC):
    """A way to perturb images, measured in l2, so that a classifier errs.

    A subclass writes `run`; checks, bounds, batches, progress and success are done here, once. Attacks come
    in two kinds: a `FixedEpsilonAttack` stays within a given norm, a `MinimumNormAttack` looks for the least.

    Settings that are lengths are in units of the classifier's pixels. Their default of None follows the range
    of its bounds, so that an attack does the same to pixels in [0, 1] and in [0, 255]; without bounds the
    range counts as 1.

    Args:
        clip: bool, default True. Keep the images within the classifier's bounds. False is the paper's
            unclipped protocol.
        targeted: bool, default False. Only the class that `targets` names is a success, not any wrong one.
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
    @suggests_keywords
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

        Warns:
            UserWarning: a length below 1 % of the range of pixels, or labels that the classifier mostly
                misses: both are marks of another scale of pixels.
        """
        check_flag("progress", progress)
        classifier = as_classifier(classifier)
        everything = self.gather(classifier, images, labels, targets, batch_size)
        warn_of_short_lengths(self.lengths(everything), classifier)
        batches = list(everything.split(batch_size or classifier.default_batch_size()))
        name = type(self).__name__
        attempts = [
            self.run(classifier, batch) for batch in track(batches, name, len(batches), progress, listen=True)
        ]
        return self.result(everything, concatenate(attempts))

    @abc.abstractmethod
    def run(self, classifier: Classifier, batch: Batch) -> Any:
        """Returns an `Attempt` at one batch, with arrays, or a nest of named tuples that `result` takes."""

    def result(self, batch: Batch, attempt: Any) -> AttackResult:
        """Returns what a call returns, from what `run` returned of all images."""
        return judge(batch, attempt)

    def lengths(self, batch: Batch) -> dict[str, float]:
        """Returns the settings that are l2 norms in pixels and were given, for a warning of short ones."""
        return {}

    def check_classifier(self, classifier: Classifier) -> None:
        """Refuses a classifier that the attack cannot work on, by a ValueError; most work on any."""
        return

    @final
    def gather(
        self,
        classifier: Classifier,
        images: Images,
        labels: Labels | None,
        targets: Labels | None,
        batch_size: int | None,
    ) -> Batch:
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
        batch = gather(classifier, images, labels, targets, batch_size)
        if targets is None and self.chooses_targets:
            batch = dataclasses.replace(batch, targets=self.choose_targets(classifier, batch, batch_size))
        return dataclasses.replace(batch, only_targets=self.targeted)

    def choose_targets(self, classifier: Classifier, batch: Batch, batch_size: int | None) -> Array:
        """Returns (n,) targets where the caller gave none. Written where `chooses_targets`."""
        raise NotImplementedError

    def limits(self, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        """Returns the bounds that results are kept to; None for none."""
        return bounds if self.clip else None


@dataclasses.dataclass(frozen=True)
class FixedEpsilonAttack(Attack):
    """An attack whose perturbation has an l2 norm of at most epsilon.

    A subclass writes `prepare`, what does not depend on epsilon, and `attempt`, what does, so that a search
    over epsilon pays for the first once; and `perturb`, if it can be trained with.

    Args:
        epsilon: float, default None. l2 norm of the perturbation before clipping, in units of the
            classifier's pixels; None is the range of its bounds, 1.0 for pixels in [0, 1].
        clip: bool, default True. Keep the images within the classifier's bounds.
        targeted: bool, default False. Seek the class that `targets` names.
    """

    epsilon: float | None = None

    #: Whether `perturb` is there: what training needs.
    works_in_training: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        # Beyond, the pixels of a float32 image overflow.
        check_length("epsilon", self.epsilon, 1e18)

    @final
    def run(self, classifier: Classifier, batch: Batch) -> Attempt:
        epsilon = np.full(len(batch), self.radius(classifier.bounds))
        return self.attempt(classifier, batch, self.prepare(classifier, batch), epsilon)

    @final
    def radius(self, bounds: tuple[float, float] | None) -> float:
        """Returns epsilon, or what it is by default for pixels within these bounds."""
        return pixel_range(bounds) if self.epsilon is None else float(self.epsilon)

    def lengths(self, batch: Batch) -> dict[str, float]:
        return {} if self.epsilon is None else {"epsilon": float(self.epsilon)}

    @abc.abstractmethod
    def prepare(self, classifier: Classifier, batch: Batch) -> Any:
        """Returns what `attempt` needs and epsilon does not change: a nest of tensors, one row an image."""

    @abc.abstractmethod
    def attempt(self, classifier: Classifier, batch: Batch, prepared: Any, epsilon: Array) -> Attempt:
        """Returns an attempt, with arrays.

        Args:
            classifier: the target.
            batch: n images with labels, and with targets if the attack moves towards some.
            prepared: what `prepare` gave for these images.
            epsilon: (n,) float64, the budget of each image (0 is no perturbation).
        """

    @final
    def has_static_shapes(self, num_classes: int) -> bool:
        """Returns whether all sizes in `perturb` but that of the batch are known, so that XLA compiles it."""
        direction = getattr(self, "direction", None)
        return direction is None or has_static_shapes(direction, num_classes)

    def perturb(
        self, target: Any, images: Tensor, labels: Tensor | None, epsilon: Tensor, seed: Tensor
    ) -> Tensor:
        """Returns the perturbed images (n, h, w, c), unchecked and in a graph: for training.

        The same attack as a call makes, less what training has no use for: no image stops early, restarts are
        one start, and every size is known before the run, so that XLA compiles it.

        Args:
            target: a kf.classifiers.Target.
            images: (n, h, w, c) within the bounds.
            labels: (n,) integer, to be made unlikely; None is the net's own answers.
            epsilon: (n,) float64, the budget of each image, 0 for one that is left as it is; the setting is
                not read.
            seed: (2,) integer, of random starts.

        Raises:
            NotImplementedError: not `works_in_training`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not work in training.")


@dataclasses.dataclass(frozen=True)
class MinimumNormAttack(Attack):
    """An attack without a budget: it looks for the nearest image that fools the classifier, l2.

    A subclass writes `search`. An image that needs no perturbation gets none.
    """

    @property
    def needs_confidence(self) -> bool:
        """Whether a wrong answer alone is not enough."""
        return False

    @final
    def run(self, classifier: Classifier, batch: Batch) -> Attempt:
        attempt = attempt_at(classifier, batch, batch.images)
        rows = np.flatnonzero(~attempt.is_success | self.needs_confidence)
        if rows.size:
            found = to_arrays(self.search(classifier, batch.select(rows)))
            found = found._replace(clean_predictions=attempt.predictions[rows])
            attempt = to_arrays(put(attempt, rows, found))
        return attempt

    @abc.abstractmethod
    def search(self, classifier: Classifier, batch: Batch) -> Attempt:
        """Returns the least perturbation found for each image, or the nearest to a success.

        Args:
            classifier: the target.
            batch: n images, none fooled yet unless `needs_confidence`.
        """

    def shorten(
        self, classifier: Classifier, batch: Batch, attempt: Attempt, least: float, times: int
    ) -> Attempt:
        """Returns the attempt drawn back towards the originals as far as it stays a success.

        Args:
            classifier: the target.
            batch: n originals.
            attempt: with tensors or arrays; its failures are returned as they are.
            least: share of each perturbation to draw back to at most.
            times: the number of bisections, one forward pass each.
        """
        origins, goal = tf.convert_to_tensor(batch.images), batch.goal
        offsets = attempt.images - origins
        lower = tf.fill([len(batch)], tf.constant(least, tf.float64))
        upper = tf.ones_like(lower)
        for _ in range(times):
            middle = 0.5 * (lower + upper)
            trial = origins + per_image(middle, offsets) * offsets
            predictions = answers(logits_of(classifier, trial))
            is_kept = attempt.is_success & goal.is_reached(predictions)
            attempt = attempt._replace(
                images=where_image(is_kept, trial, attempt.images),
                predictions=tf.where(is_kept, predictions, attempt.predictions),
            )
            lower, upper = tf.where(is_kept, lower, middle), tf.where(is_kept, middle, upper)
        return attempt


def judge(batch: Batch, attempt: Attempt) -> AttackResult:
    """Returns the result of an attempt at `batch`, with arrays; warns of labels that are mostly missed."""
    difference = (attempt.images.astype(np.float64) - batch.images).reshape(len(batch), -1)
    is_correct = attempt.clean_predictions == batch.labels
    if not batch.only_targets and len(batch) >= _LEAST_COUNT and 2 * is_correct.sum() < len(batch):
        warnings.warn(
            f"The classifier gives only {is_correct.sum()} of {len(batch)} images the label that it is said "
            "to have, before the attack. Do the labels belong to the images, and are the pixels on the scale "
            "that the model was trained on? For a model with 8-bit pixels: kf.Classifier(model, bounds=(0, "
            "255)).",
            stacklevel=4,
        )
    return AttackResult(
        images=attempt.images,
        success=np.asarray(batch.goal.is_reached(attempt.predictions)),
        norms=np.linalg.norm(difference, axis=-1),
        predictions=attempt.predictions,
        num_iterations=attempt.num_iterations,
        is_correct=is_correct,
    )


@suggests_keywords
def attempt_at(
    classifier: Classifier, batch: Batch, images: Tensor, num_iterations: Array | int = 0
) -> Attempt:
    """Returns the attempt that these perturbed images (n, h, w, c) are, with arrays."""
    logits = logits_of(classifier, images)
    predictions = answers(logits)
    return to_arrays(
        Attempt(
            images=np.array(images),
            predictions=predictions,
            is_success=batch.goal.is_reached(predictions),
            cost=batch.goal.missing(logits),
            num_iterations=np.full(len(batch), num_iterations, np.int64),
            clean_predictions=predictions,
        )
    )


def logits_of(classifier: Classifier, images: Tensor) -> Tensor:
    """Returns (n, classes) logits of images, in bounds or not, by the program of `classifier.predict`."""
    return classifier.outputs_of(tf.convert_to_tensor(images, classifier.image_dtype))


def check_length(name: str, value: Any, maximum: float = float("inf")) -> None:
    """Refuses what is no length above 0; None is the default.

    Raises:
        TypeError, ValueError: it is none.
    """
    if value is not None:
        check_real(name, value, 0.0, maximum, exclusive_minimum=True)


def warn_of_short_lengths(lengths: dict[str, float], classifier: Classifier) -> None:
    """Warns where one of the lengths, by name, is below 1 % of the range of pixels, if that is known."""
    if classifier.bounds is None:
        return
    lower, upper = classifier.bounds
    for name, length in lengths.items():
        if length < _LEAST_SHARE * (upper - lower):
            warnings.warn(
                f"`{name}` = {length:g} is below 1 % of the range of pixels, [{lower:g}, {upper:g}]. Lengths "
                "are in units of the pixels: what is 1.0 for pixels in [0, 1] is 255.0 for 8-bit ones.",
                stacklevel=3,
            )


def check_fixed_epsilon(attack: Any) -> FixedEpsilonAttack:
    """Returns the attack, one with an epsilon.

    Raises:
        TypeError: it is none.
    """
    if isinstance(attack, FixedEpsilonAttack):
        return attack
    found, remedy = type(attack).__name__, ""
    if isinstance(attack, type) and issubclass(attack, Attack):
        found, remedy = f"the class {attack.__name__}", f"Make one: {attack.__name__}()."
    elif isinstance(attack, Attack):
        remedy = "It finds the least norm by itself: call it."
    raise TypeError(message("attack", "be an attack of kf.attacks with an epsilon", found, remedy))


def fixed(value: Any) -> Any:
    """Returns a dataclass field that a subclass does not let its users set."""
    # By a factory: a function as the default would be a method of the class.
    return dataclasses.field(default_factory=lambda: value, init=False, repr=False)
